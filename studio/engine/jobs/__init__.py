"""Jobs: admission, queue, lanes, the runner, the journal and the saver."""

"""Speed and memory against bars: ratios against a baseline from the same run, never bare seconds."""

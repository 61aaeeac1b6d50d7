"""Lanes: threads that carry out jobs, one at a time each, fair between users."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import Any

from studio.core.errors import JobCancelled, StudioError
from studio.core.thread_handover import resolve_future
from studio.engine.jobs.job import Job

WORK_TIMEOUT = 600.0  # seconds that work for a lane waits for the job before it


class FairQueue:
    """Waiting jobs: users take turns, and within a user the first comes first. Not thread-safe by itself."""

    def __init__(self) -> None:
        self._users: collections.OrderedDict[str, collections.deque[Job]] = collections.OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._users.values()))

    def count(self, user: str) -> int:
        """How many jobs of `user` wait."""
        return len(self._users.get(user, ()))

    def put(self, job: Job, *, first: bool = False) -> None:
        """Add a job behind its user's others, or before them."""
        own = self._users.setdefault(job.user, collections.deque())
        own.appendleft(job) if first else own.append(job)

    def pop(self) -> Job | None:
        """Take the next job; its user goes to the end of the line."""
        if not self._users:
            return None
        user, own = self._users.popitem(last=False)
        job = own.popleft()
        if own:
            self._users[user] = own
        return job

    def remove(self, job: Job) -> bool:
        """Take `job` out; False when it does not wait here."""
        own = self._users.get(job.user, collections.deque())
        if job not in own:
            return False
        own.remove(job)
        if not own:
            del self._users[job.user]
        return True

    def order(self) -> list[Job]:
        """All jobs in the order in which they would be taken."""
        line = collections.deque(collections.deque(own) for own in self._users.values())
        order: list[Job] = []
        while line:
            own = line.popleft()
            order.append(own.popleft())
            if own:
                line.append(own)
        return order


class Lane:
    """One queue and the threads that serve it. Thread-safe."""

    def __init__(
        self, name: str, run: Callable[[Job], None], *, threads: int, on_change: Callable[[Lane], None]
    ) -> None:
        """`run` carries out a job and raises nothing; `on_change` is called, outside every lock, when the queue has
        changed."""
        self.name = name
        self._run = run
        self._on_change = on_change
        self._changed = threading.Condition()
        self._queue = FairQueue()
        self._work: collections.deque[tuple[concurrent.futures.Future[Any], Callable[[], Any]]] = collections.deque()
        self._running: list[Job] = []
        self._closed = False
        self._threads = [
            threading.Thread(target=self._loop, name=f"lane {name} {n}", daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, *jobs: Job, first: bool = False) -> None:
        """Queue jobs, in this order."""
        with self._changed:
            for job in jobs:
                self._queue.put(job, first=first)
            self._changed.notify(len(jobs))
        self._on_change(self)

    def remove(self, *jobs: Job) -> list[Job]:
        """Take waiting jobs out; returns those that did wait here."""
        with self._changed:
            removed = [job for job in jobs if self._queue.remove(job)]
        if removed:
            self._on_change(self)
        return removed

    def count_waiting(self, user: str | None = None) -> int:
        """How many jobs wait, all or one user's."""
        with self._changed:
            return len(self._queue) if user is None else self._queue.count(user)

    def count_jobs(self) -> tuple[int, int]:
        """How many jobs run and how many wait."""
        with self._changed:
            return len(self._running), len(self._queue)

    def list_jobs(self) -> tuple[list[Job], list[Job]]:
        """(the jobs that run, the jobs that wait in their order) at one moment."""
        with self._changed:
            return list(self._running), self._queue.order()

    def run_work(self, work: Callable[[], Any], timeout: float = WORK_TIMEOUT) -> Any:
        """Run `work` in the lane before any waiting job, and give its result.

        Raises:
            StudioError: the lane did not come to it within `timeout` seconds. JobCancelled: the studio closes.
        """
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._changed:
            if self._closed:
                raise JobCancelled("The studio is shutting down.")
            self._work.append((future, work))
            self._changed.notify()
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError as error:
            if future.done() or not future.cancel():
                raise
            raise StudioError("The studio is busy with another job.", hint="Try again when it has ended.") from error
        except concurrent.futures.CancelledError as error:
            raise JobCancelled("The studio is shutting down.") from error

    def close(self) -> None:
        """Take no new job. Running ones go on; waiting ones stay in the journal."""
        with self._changed:
            self._closed = True
            for future, _ in self._work:
                future.cancel()
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the running jobs; False when one still runs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._work or len(self._queue))
                if self._closed:
                    return
                if self._work:
                    future, work = self._work.popleft()
                    job = None
                else:
                    future, work = None, None
                    job = self._queue.pop()
                    if job is not None:
                        self._running.append(job)
            if future is not None and work is not None:
                resolve_future(future, work)
            elif job is not None:
                self._on_change(self)
                self._run(job)
                with self._changed:
                    self._running.remove(job)
                self._on_change(self)

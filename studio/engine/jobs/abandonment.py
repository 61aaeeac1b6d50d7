"""Jobs whose page is gone: each gets a time of grace, and is stopped when nobody came back."""

from __future__ import annotations

import threading
from collections.abc import Callable

from studio.engine.jobs.job import Job


class AbandonmentTimer:
    """Calls `stop(job)` `grace` seconds after `leave`, unless `attach` comes before. Thread-safe."""

    def __init__(self, grace: float, stop: Callable[[Job], None]) -> None:
        self._grace = grace
        self._stop = stop
        self._lock = threading.Lock()
        self._timers: dict[str, threading.Timer] = {}

    def leave(self, job: Job) -> None:
        """The grace time begins (again)."""
        timer = threading.Timer(self._grace, self._handle_expiry, [job])
        timer.daemon = True
        with self._lock:
            self._discard_timer(job)
            self._timers[job.id] = timer
            timer.start()

    def attach(self, job: Job) -> None:
        """Somebody watches the job."""
        with self._lock:
            self._discard_timer(job)

    def close(self) -> None:
        """Stop waiting; no job is stopped any more."""
        with self._lock:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    def _discard_timer(self, job: Job) -> None:
        timer = self._timers.pop(job.id, None)
        if timer is not None:
            timer.cancel()

    def _handle_expiry(self, job: Job) -> None:
        with self._lock:
            if self._timers.get(job.id) is not threading.current_thread():
                return
            del self._timers[job.id]
        self._stop(job)

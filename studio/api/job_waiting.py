"""Waiting for a job without holding up anybody else: in threads of its own, in slices, hearing when the caller hangs
up."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Generator

import anyio
import anyio.to_thread
from starlette.requests import Request

from studio.core.errors import QueueFull
from studio.core.events import Snapshot
from studio.engine.jobs.job import Job

POLL_SECONDS = 1.0  # seconds between two looks at the connection


class WaiterPool:
    """At most `most` callers wait at once, three quarters of them for the jobs of one user; each takes a thread that is
    not one of the page's."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._waiting: Counter[str] = Counter()
        self._limiter = anyio.CapacityLimiter(most)

    def check_room(self, user: str) -> None:
        """Raises QueueFull where `user` cannot wait now, since too many wait already."""
        if self._waiting.total() >= self._most or self._waiting[user] >= self._most * 3 // 4:
            raise QueueFull("Too many requests are waiting for jobs.", hint="Poll GET /jobs/{id} instead.")

    @contextlib.contextmanager
    def take_place(self, user: str) -> Generator[None]:
        """One of the places while the block runs; raises as `check_room`."""
        self.check_room(user)
        self._waiting[user] += 1
        try:
            yield
        finally:
            self._waiting[user] -= 1

    async def stream_snapshots(self, job: Job, request: Request, deadline: float) -> AsyncIterator[Snapshot]:
        """The job's snapshots as they change, at least one each SLICE, until its last, `deadline` seconds, or the
        caller hangs up.

        Raises:
            QueueFull: too many wait already.
        """
        with self.take_place(job.user):
            end = time.monotonic() + deadline
            now = job.snapshot
            yield now
            while not now.status.is_final and time.monotonic() < end and not await request.is_disconnected():
                version = now.version
                now = await anyio.to_thread.run_sync(job.wait, version, POLL_SECONDS, limiter=self._limiter)
                yield now

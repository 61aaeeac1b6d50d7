"""Waiting for a job without holding up anybody else: in threads of its own, in slices, hearing when the caller hangs
up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator

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

    async def stream_snapshots(self, job: Job, request: Request, deadline: float) -> AsyncIterator[Snapshot]:
        """The job's snapshots as they change, at least one each SLICE, until its last, `deadline` seconds, or the
        caller hangs up.

        Raises:
            QueueFull: too many wait already.
        """
        if self._waiting.total() >= self._most or self._waiting[job.user] >= self._most * 3 // 4:
            raise QueueFull("Too many requests are waiting for jobs.", hint="Poll GET /jobs/{id} instead.")
        self._waiting[job.user] += 1
        try:
            end = time.monotonic() + deadline
            now = job.snapshot
            yield now
            while not now.status.is_final and time.monotonic() < end and not await request.is_disconnected():
                version = now.version
                now = await anyio.to_thread.run_sync(job.wait, version, POLL_SECONDS, limiter=self._limiter)
                yield now
        finally:
            self._waiting[job.user] -= 1

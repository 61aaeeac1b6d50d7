"""What the routes of all dialects share: whether they are offered, jobs that are waited for, images that are let in and
given out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio.to_thread
from fastapi import Depends, Request
from fastapi.params import Depends as DependsParam

from studio.api.dialects.dialect_paths import Dialect
from studio.api.job_waiting import WaiterPool
from studio.api.responses import resolve_asset_file
from studio.api.rights import needs
from studio.api.submit_request import get_caller
from studio.core.base64_text import decode_base64
from studio.core.errors import BadImage, NotFound
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.rights import Right
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.storage.inputs import KeptImage
from studio.engine.studio import Studio

MAX_JOB_SECONDS = 3600.0  # seconds that a caller's connection is held


def require_dialect(studio: Studio, dialect: Dialect) -> list[DependsParam]:
    """The dependency of a router that answers 404 while the setting of `dialect` is off."""

    def check_enabled() -> None:
        if not dialect.is_enabled(studio.settings.current):
            raise NotFound("This API is switched off.", hint=f"Switch on {dialect.value} in Configurations.")

    return [Depends(check_enabled), needs(Right.USE)]


class DialectJobs:
    """Submits jobs for one dialect and waits for them, many callers at once."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.waiters = WaiterPool()

    async def submit(self, request: Request, build: Callable[[User], GenerationRequest]) -> Job:
        """Submit what `build` makes of the caller's body; it runs in a thread, for it may have to decode images."""
        user = get_caller(request)
        return await anyio.to_thread.run_sync(lambda: self.studio.engine.submit(build(user), user))

    async def wait(self, request: Request, job: Job) -> Job:
        """Wait until `job` has ended. A caller that hangs up leaves it, as a closed page does.

        Raises:
            StudioError: what the job failed with, unless it has images.
        """
        async for _ in self.waiters.stream_snapshots(job, request, MAX_JOB_SECONDS):
            pass
        now = job.snapshot
        if not now.status.is_final and await request.is_disconnected():
            self.studio.engine.leave(job.id, get_caller(request))
        if now.error is not None and not now.assets:
            raise now.error
        return job

    async def run(self, request: Request, build: Callable[[User], GenerationRequest]) -> Job:
        """`submit` and `wait`."""
        return await self.wait(request, await self.submit(request, build))

    def read_file(self, asset: Asset) -> bytes:
        """The bytes of a result's file; raises NotFound when it is gone."""
        return resolve_asset_file(asset, self.studio.engine.file_roots).read_bytes()


def keep_encoded_image(text: str, studio: Studio, user: User) -> KeptImage:
    """Let an image in that came as base64, with or without "data:…;base64," before it.

    Raises:
        BadImage: it is no base64, or the image gate refuses it.
    """
    try:
        data = decode_base64(text)
    except ValueError as error:
        raise BadImage("Invalid encoded image", hint="Send the file in base64.") from error
    return studio.engine.keep_image(data, user)


def run_soon(work: Coroutine[Any, Any, None], kept: set[asyncio.Task[None]]) -> None:
    """Run `work` beside the request; `kept` holds it until its end."""
    task = asyncio.get_running_loop().create_task(work)
    kept.add(task)
    task.add_done_callback(kept.discard)

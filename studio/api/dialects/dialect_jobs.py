"""What the routes of all dialects share: whether they are offered, jobs that are waited for, images that are let in and
given out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
import httpx
from fastapi import Depends, Request
from fastapi.params import Depends as DependsParam

from studio.api.dialects.dialect_paths import Dialect
from studio.api.job_waiting import WaiterPool
from studio.api.responses import resolve_asset_file
from studio.api.submit_request import get_caller
from studio.core.base64_text import decode_base64
from studio.core.errors import BadImage, InvalidRequest, NotFound, Unreachable
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.settings import Settings
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.storage.inputs import KeptImage
from studio.engine.studio import Studio

MAX_JOB_SECONDS = 3600.0  # seconds that a caller's connection is held
_FETCH_SECONDS = 30.0


def require_dialect(studio: Studio, dialect: Dialect) -> list[DependsParam]:
    """The dependency of a router that answers 404 while the setting of `dialect` is off."""

    def check_enabled() -> None:
        if not dialect.is_enabled(studio.settings.current):
            raise NotFound("This API is switched off.", hint=f"Switch on {dialect.value} in Configurations.")

    return [Depends(check_enabled)]


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
        return resolve_asset_file(asset, self.studio.engine.outputs_dir).read_bytes()


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


def fetch_image(address: str, settings: Settings) -> bytes:
    """The file at an address that a request names, from hosts that the settings list only.

    Redirects are not followed, and a name that leads to this machine or its network is refused unless it is listed as
    an address itself.

    Raises:
        InvalidRequest: no address, or a host that is not listed. Unreachable: it does not answer. BadImage: too large.
    """
    check_outbound_address(address, settings.image_hosts, "image_hosts")
    limit = settings.max_upload_mb * 1024 * 1024
    try:
        with httpx.stream("GET", address, timeout=_FETCH_SECONDS, follow_redirects=False, trust_env=False) as answer:
            if answer.status_code != 200:
                raise BadImage("Invalid image url", hint=f"The host answered with {answer.status_code}.")
            parts: list[bytes] = []
            size = 0
            for part in answer.iter_bytes():
                size += len(part)
                if size > limit:
                    raise BadImage("The image at that address is too large.", hint="Send a smaller file.")
                parts.append(part)
    except httpx.HTTPError as error:
        raise Unreachable("The host of the image does not respond.", hint="Send the file in base64.") from error
    return b"".join(parts)


def check_outbound_address(address: str, listed: str, setting: str) -> None:
    """Refuse an address that nothing may be sent to: hosts are `listed`, separated by commas, with their port where it
    is not that of the scheme.

    Raises:
        InvalidRequest: the message says why, the hint which setting lists hosts.
    """
    hint = f"Hosts are listed in the setting {setting}."
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest("That is not an address.", hint=hint) from error
    host = (parts.hostname or "").lower()
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise InvalidRequest("Only plain http and https addresses can be used.", hint=hint)
    names = {name.strip().lower() for name in listed.split(",") if name.strip()}
    usual = port in (None, {"http": 80, "https": 443}[parts.scheme])
    if not ({f"{host}:{port}"} & names or (usual and host in names)):
        raise InvalidRequest(f"Requests to {host[:100]} are not allowed.", hint=hint)
    if _is_private(host) and not _is_literal(host) and host != "localhost":
        raise InvalidRequest(f"{host[:100]} leads to a private address.", hint="List the address itself to allow it.")


def _is_literal(host: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_private(host: str) -> bool:
    """Whether any address that `host` has is not a public one."""
    import ipaddress

    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False  # the request itself will say that it cannot be found
    return any(not ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_global for entry in found)


def run_soon(work: Coroutine[Any, Any, None], kept: set[asyncio.Task[None]]) -> None:
    """Run `work` beside the request; `kept` holds it until its end."""
    task = asyncio.get_running_loop().create_task(work)
    kept.add(task)
    task.add_done_callback(kept.discard)

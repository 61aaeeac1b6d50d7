"""The routes by which other studios let this one draw. They are there with the setting `replica`."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from studio.cluster.replica import ALIVE_SECONDS, Replica
from studio.cluster.wire import MEDIA_TYPE, RENDER_PATH, STATE_PATH, Order, encode_error, encode_event, read_order
from studio.core.errors import Forbidden, StudioError
from studio.core.image_gate import ImageLimits
from studio.core.request import GenerationRequest
from studio.core.rights import Role
from studio.core.settings import Settings
from studio.core.user import User

_NO_STORE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def build_replica_router(
    replica: Replica, settings: Settings, admit: Callable[[User, GenerationRequest, int], None]
) -> APIRouter:
    """The two routes. `admit` raises what keeps a user from letting that many images of a request be drawn."""
    routes = APIRouter(tags=["cluster"])
    limits = ImageLimits.of(settings)

    @routes.get(STATE_PATH)
    def get_state(request: Request) -> JSONResponse:
        """The models that other studios may use here, and how busy this one is."""
        _require_user(request)
        return JSONResponse(replica.describe().to_json(), headers=_NO_STORE)

    @routes.post(RENDER_PATH, response_class=StreamingResponse)
    async def render_pass(request: Request) -> StreamingResponse:
        """Draw one pass for another studio: its events and images, a line of JSON each. Hanging up stops it."""
        user = _require_user(request)
        body = await request.body()
        order = await anyio.to_thread.run_sync(read_order, body, limits)
        await anyio.to_thread.run_sync(admit, user, order.request, len(order.seeds))
        return StreamingResponse(_stream_pass(replica, order, user.name), media_type=MEDIA_TYPE, headers=_NO_STORE)

    return routes


async def _stream_pass(replica: Replica, order: Order, user: str) -> AsyncIterator[bytes]:
    """The lines of a pass, with a sign of life when nothing happens. Ended early, it ends the pass."""
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    try:
        context = replica.begin(order, user, lambda line: _put(loop, lines, line), lambda: _put(loop, lines, None))
    except StudioError as error:
        yield encode_error(error)
        return
    try:
        while True:
            try:
                line = await asyncio.wait_for(lines.get(), ALIVE_SECONDS)
            except TimeoutError:
                line = encode_event("alive")
            if line is None:
                return
            yield line
    finally:
        context.stop()


def _put(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes | None], line: bytes | None) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(lines.put_nowait, line)


def _require_user(request: Request) -> User:
    """The caller, who may be no guest.

    Raises:
        Forbidden: nobody, or a guest.
    """
    user = request.scope.get("user")
    if not isinstance(user, User) or user.role is Role.GUEST:
        raise Forbidden("Only users of this studio may let it generate for another.", hint="Send a token of a user.")
    return user

"""Answers that come piece by piece from a blocking iterator, as server-sent events or as one JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.responses import StreamingResponse

from studio.api.submit_request import NO_STORE
from studio.core.errors import StudioError

T = TypeVar("T")
Start = Callable[[Callable[[], bool]], Iterator[T]]  # given what tells that the caller has gone


def wants_events(request: Request) -> bool:
    """Whether the caller asks for server-sent events."""
    return "text/event-stream" in request.headers.get("accept", "")


async def iterate_in_thread(request: Request, start: Start[T]) -> AsyncIterator[T]:
    """What the iterator of `start` gives, each step in a worker thread; it is closed when the caller hangs up. A step
    must not block for more than a moment."""
    gone = threading.Event()
    iterator = start(gone.is_set)
    end = object()
    try:
        while True:
            item: Any = await anyio.to_thread.run_sync(next, iterator, end)
            if item is end or await request.is_disconnected():
                return
            yield item
    finally:
        gone.set()
        close: Callable[[], None] | None = getattr(iterator, "close", None)
        if close is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(close)


def stream_events(request: Request, start: Start[tuple[str, Any]]) -> StreamingResponse:
    """The (event, data) pairs of the iterator as server-sent events, and its error as the last one; a pair without a
    name only tells that the server is still there."""

    async def generate() -> AsyncIterator[str]:
        try:
            async for name, data in iterate_in_thread(request, start):
                yield f"event: {name}\ndata: {json.dumps(data)}\n\n" if name else ": still here\n\n"
        except StudioError as error:
            yield f"event: error\ndata: {json.dumps(error.to_json(), default=str)}\n\n"

    return StreamingResponse(
        generate(), media_type="text/event-stream", headers={**NO_STORE, "X-Accel-Buffering": "no"}
    )

"""Following a graph on a ComfyUI server: queued over HTTP, heard over its WebSocket, taken off when the user stops."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from studio.core.errors import JobCancelled, PictureSkipped, ProviderError, Unreachable
from studio.core.provider import Call, Order, Wire
from studio.providers.common.comfyui_graphs import Graph
from studio.providers.common.http_wire import silent
from studio.providers.common.service_errors import json_of, odd

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

TITLE = "ComfyUI"
_SILENCE = 600.0  # seconds without a word until it is given up
_QUIET = 1.0  # seconds without a word until the history is asked, too
_LOOK = 0.3  # seconds between two looks at the user's wish
_RECONNECTS = 5
_LARGEST_MESSAGE = 32 * 1024 * 1024


def followed(graph: Graph, order: Order, wire: Wire) -> Mapping[str, Any]:
    """Queue the graph and follow it; its entry in the server's history."""
    client, queued = uuid.uuid4().hex, ""
    try:
        with contextlib.closing(_connected(wire, client)) as line:
            call = Call(
                method="POST", path="/prompt", json={"prompt": graph, "client_id": client}, paid=False, seconds=60
            )
            queued = str(json_of(TITLE, wire.send(call)).get("prompt_id") or "")
            if not queued:
                raise odd(TITLE, "no id for the graph")
            _listen(line, queued, order, wire, client)
    except (JobCancelled, PictureSkipped):
        _interrupt(wire, queued)
        raise
    entry = _history(wire, queued)
    if entry is None:
        raise odd(TITLE, "no result for the graph")
    return entry


def _listen(line: ClientConnection, queued: str, order: Order, wire: Wire, client: str) -> None:
    """Hear the server until the graph has ended; a broken line is taken up again."""
    from websockets.exceptions import ConnectionClosed

    heard, left = time.monotonic(), _RECONNECTS
    while True:
        order.context.raise_if_cancelled()
        try:
            message = line.recv(timeout=_LOOK)
        except TimeoutError:
            quiet = time.monotonic() - heard
            if quiet > _SILENCE:
                raise silent(TITLE, paid=False) from None
            if quiet > _QUIET and _history(wire, queued) is not None:  # its end was told while the line was broken
                return
            continue
        except ConnectionClosed:
            if _history(wire, queued) is not None:
                return
            if left == 0:
                raise silent(TITLE, paid=False) from None
            left -= 1
            wire.sleep(0.5)
            line = _connected(wire, client)
            continue
        heard = time.monotonic()
        if isinstance(message, str) and _ended(message, queued, order):
            return


def _ended(message: str, queued: str, order: Order) -> bool:
    """Take in one message; True when the graph is done."""
    try:
        told = json.loads(message)
        kind, data = told["type"], told.get("data") or {}
    except (ValueError, KeyError, TypeError):
        return False
    if data.get("prompt_id") not in (None, queued):
        return False  # another client's work
    if kind == "progress":
        order.context.progress(int(data.get("value", 0)), max(1, int(data.get("max", 1))))
    if kind == "execution_error":
        text = str(data.get("exception_message", "an error")).strip()[:300]
        raise ProviderError(
            f"ComfyUI could not run the graph: {text}", hint=f"Look at its node {data.get('node_type', '')}."
        )
    if kind == "execution_interrupted":
        raise ProviderError("The graph was interrupted at the ComfyUI server.", hint="Try again.")
    return kind == "execution_success" or (
        kind == "executing" and data.get("node") is None and data.get("prompt_id") == queued
    )


def _connected(wire: Wire, client: str) -> ClientConnection:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    base = urlsplit(wire.base_url)
    address = f"{'wss' if base.scheme == 'https' else 'ws'}://{base.netloc}{base.path}/ws?clientId={client}"
    headers = {"Authorization": f"Bearer {wire.key}"} if wire.key else {}

    def once() -> ClientConnection:
        try:
            return connect(address, additional_headers=headers, open_timeout=10, max_size=_LARGEST_MESSAGE, proxy=None)
        except (OSError, WebSocketException, TimeoutError) as error:
            raise Unreachable(
                f"{TITLE} is not there.", hint="Start it, or correct its address in Configurations."
            ) from error

    return wire.retried(lambda: wire.run(once, seconds=15, paid=False))


def _interrupt(wire: Wire, queued: str) -> None:
    """Take the graph off the server: out of its queue, or off its hands when it runs."""
    import requests

    with contextlib.suppress(requests.RequestException):
        requests.post(f"{wire.base_url}/queue", json={"delete": [queued]}, timeout=5)
        requests.post(f"{wire.base_url}/interrupt", json={"prompt_id": queued}, timeout=5)


def _history(wire: Wire, queued: str) -> Mapping[str, Any] | None:
    """The ended graph's entry, None while it has not ended."""
    found = json_of(
        TITLE, wire.send(Call(method="GET", path=f"/history/{quote(queued, safe='')}", paid=False, seconds=30))
    )
    entry = found.get(queued)
    return entry if isinstance(entry, dict) else None

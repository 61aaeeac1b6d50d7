"""Following a graph on a ComfyUI server: queued over HTTP, heard over its WebSocket, taken off when the user stops."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from studio.core.errors import ImageSkipped, JobCancelled, ProviderError, Unreachable
from studio.core.provider import HttpRequest, ProviderClient, RenderRequest
from studio.providers.common.comfyui_graphs import Graph
from studio.providers.common.http_wire import make_unreachable_error
from studio.providers.common.service_errors import make_answer_error, read_json

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

TITLE = "ComfyUI"
_SILENCE_TIMEOUT = 600.0  # seconds without a word until it is given up
_HISTORY_CHECK_AFTER = 1.0  # seconds without a word until the history is asked, too
_RECEIVE_TIMEOUT = 0.3  # seconds between two looks at the user's wish
_MAX_RECONNECTS = 5
_MAX_MESSAGE_BYTES = 32 * 1024 * 1024


def run_graph(graph: Graph, order: RenderRequest, wire: ProviderClient) -> Mapping[str, Any]:
    """Queue the graph and follow it; its entry in the server's history."""
    client, queued = uuid.uuid4().hex, ""
    try:
        with contextlib.closing(_connect_websocket(wire, client)) as line:
            call = HttpRequest(
                method="POST", path="/prompt", json={"prompt": graph, "client_id": client}, paid=False, seconds=60
            )
            queued = str(read_json(TITLE, wire.send(call)).get("prompt_id") or "")
            if not queued:
                raise make_answer_error(TITLE, "no id for the graph")
            _wait_for_graph(line, queued, order, wire, client)
    except (JobCancelled, ImageSkipped):
        _interrupt_graph(wire, queued)
        raise
    entry = _fetch_history(wire, queued)
    if entry is None:
        raise make_answer_error(TITLE, "no result for the graph")
    return entry


def _wait_for_graph(
    line: ClientConnection, queued: str, order: RenderRequest, wire: ProviderClient, client: str
) -> None:
    """Hear the server until the graph has ended; a broken line is taken up again."""
    from websockets.exceptions import ConnectionClosed

    heard, left = time.monotonic(), _MAX_RECONNECTS
    while True:
        order.context.raise_if_cancelled()
        try:
            message = line.recv(timeout=_RECEIVE_TIMEOUT)
        except TimeoutError:
            quiet = time.monotonic() - heard
            if quiet > _SILENCE_TIMEOUT:
                raise make_unreachable_error(TITLE, paid=False) from None
            if (
                quiet > _HISTORY_CHECK_AFTER and _fetch_history(wire, queued) is not None
            ):  # its end was told while the line was broken
                return
            continue
        except ConnectionClosed:
            if _fetch_history(wire, queued) is not None:
                return
            if left == 0:
                raise make_unreachable_error(TITLE, paid=False) from None
            left -= 1
            wire.sleep(0.5)
            line = _connect_websocket(wire, client)
            continue
        heard = time.monotonic()
        if isinstance(message, str) and _handle_message(message, queued, order):
            return


def _handle_message(message: str, queued: str, order: RenderRequest) -> bool:
    """Take in one message; True when the graph is done."""
    try:
        told = json.loads(message)
        kind, data = told["type"], told.get("data") or {}
    except (ValueError, KeyError, TypeError):
        return False
    if data.get("prompt_id") not in (None, queued):
        return False  # another client's work
    if kind == "progress":
        order.context.report_progress(int(data.get("value", 0)), max(1, int(data.get("max", 1))))
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


def _connect_websocket(wire: ProviderClient, client: str) -> ClientConnection:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    base = urlsplit(wire.base_url)
    address = f"{'wss' if base.scheme == 'https' else 'ws'}://{base.netloc}{base.path}/ws?clientId={client}"
    headers = {"Authorization": f"Bearer {wire.key}"} if wire.key else {}

    def once() -> ClientConnection:
        try:
            return connect(
                address, additional_headers=headers, open_timeout=10, max_size=_MAX_MESSAGE_BYTES, proxy=None
            )
        except (OSError, WebSocketException, TimeoutError) as error:
            raise Unreachable(
                f"{TITLE} is not there.", hint="Start it, or correct its address in Configurations."
            ) from error

    return wire.call_with_retry(lambda: wire.run(once, seconds=15, paid=False))


def _interrupt_graph(wire: ProviderClient, queued: str) -> None:
    """Take the graph off the server: out of its queue, or off its hands when it runs."""
    import requests

    with contextlib.suppress(requests.RequestException):
        requests.post(f"{wire.base_url}/queue", json={"delete": [queued]}, timeout=5)
        requests.post(f"{wire.base_url}/interrupt", json={"prompt_id": queued}, timeout=5)


def _fetch_history(wire: ProviderClient, queued: str) -> Mapping[str, Any] | None:
    """The ended graph's entry, None while it has not ended."""
    found = read_json(
        TITLE, wire.send(HttpRequest(method="GET", path=f"/history/{quote(queued, safe='')}", paid=False, seconds=30))
    )
    entry = found.get(queued)
    return entry if isinstance(entry, dict) else None

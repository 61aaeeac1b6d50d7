"""Following a graph on a ComfyUI server: queued over HTTP, heard over its WebSocket where that opens, its queue and
history asked by the clock, taken off when the user stops."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from studio.core.errors import ImageSkipped, InvalidRequest, JobCancelled, ProviderError, Unreachable
from studio.core.provider import HttpRequest, HttpResponse, ProviderClient, RenderRequest
from studio.providers.common.comfyui_graphs import Graph
from studio.providers.common.service_errors import make_answer_error, quote_words, read_json

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

TITLE = "ComfyUI"
_CHECK_INTERVAL = 2.0  # seconds without a word about our graph until queue and history are asked
_POLL_INTERVAL = 1.0  # seconds between two looks where nothing can be heard
_RECEIVE_TIMEOUT = 0.3  # seconds between two checks for a cancel
_SILENCE_TIMEOUT = 600.0  # seconds without a sign of the graph until it is given up
_HISTORY_TIMEOUT = 15.0  # seconds from the event that ends a graph to its entry in the history
_MAX_FAILED_CHECKS = 5  # one after the other, each tried several times
_MAX_RECONNECTS = 5
_MAX_MESSAGE_BYTES = 32 * 1024 * 1024


def run_graph(graph: Graph, order: RenderRequest, wire: ProviderClient) -> Mapping[str, Any]:
    """Queue the graph and follow it; its entry in the server's history.

    Raises:
        ProviderError: it failed, or the server has lost it. Unreachable: the server does not answer.
    """
    client, queued, sent = uuid.uuid4().hex, "", False
    line = _open_line(wire, client, order)
    try:
        call = HttpRequest(
            method="POST", path="/prompt", json={"prompt": graph, "client_id": client}, paid=False, seconds=60
        )
        sent = True
        queued = str(read_json(TITLE, wire.send(call)).get("prompt_id") or "")
        if not queued:
            raise make_answer_error(TITLE, "no id for the graph")
        follower = _GraphFollower(queued, client, order, wire, line)
        try:
            return follower.follow()
        finally:
            line = follower.line
    except (JobCancelled, ImageSkipped):
        if sent:
            _take_back(wire, client, queued)
        raise
    finally:
        if line is not None:
            line.close()


class _GraphFollower:
    """Follows one queued graph to its end. `line` is the open WebSocket, None where there is none."""

    def __init__(
        self, queued: str, client: str, order: RenderRequest, wire: ProviderClient, line: ClientConnection | None
    ) -> None:
        self.line = line
        self._queued = queued
        self._client = client
        self._order = order
        self._wire = wire
        self._reconnects = _MAX_RECONNECTS
        self._failed = 0
        self._missed = False
        self._seen = time.monotonic()  # when there was a sign of our graph
        self._next_check = self._seen + _CHECK_INTERVAL

    def follow(self) -> Mapping[str, Any]:
        """The graph's entry in the history, once it has ended."""
        while True:
            self._order.context.raise_if_cancelled()
            if self._hear():
                return self._wait_for_entry()
            if time.monotonic() >= self._next_check:
                entry = self._check()
                if entry is not None:
                    return entry

    def _hear(self) -> bool:
        """Take in what the server says next; whether it said that our graph has ended."""
        from websockets.exceptions import ConnectionClosed

        if self.line is None:
            self._wire.sleep(_POLL_INTERVAL)
            self._next_check = 0.0
            return False
        try:
            message = self.line.recv(timeout=_RECEIVE_TIMEOUT)
        except TimeoutError:
            return False
        except ConnectionClosed:
            self._next_check = 0.0  # it may have ended meanwhile, or the server was restarted
            self._reconnect()
            return False
        event = _read_message(message) if isinstance(message, str) else None
        if event is None or event[1].get("prompt_id") not in (None, self._queued):
            return False  # another client's work, or an extension that talks
        kind, data = event
        if data.get("prompt_id") == self._queued:
            self._seen = time.monotonic()
            self._next_check = self._seen + _CHECK_INTERVAL
        if kind == "progress":
            self._report_progress(data)
        if kind in ("execution_error", "execution_interrupted"):
            raise make_graph_error(kind, data)
        return data.get("prompt_id") == self._queued and (
            kind == "execution_success" or (kind == "executing" and data.get("node") is None)
        )

    def _report_progress(self, data: Mapping[str, Any]) -> None:
        value, most = data.get("value"), data.get("max")
        if isinstance(value, int | float) and isinstance(most, int | float):
            self._order.context.report_progress(int(value), max(1, int(most)))

    def _reconnect(self) -> None:
        """Take a broken line up again; where that fails, the graph is followed without."""
        self.line = None
        if self._reconnects:
            self._reconnects -= 1
            self._wire.sleep(0.5)
            self.line, _ = _connect_websocket(self._wire, self._client)

    def _check(self) -> Mapping[str, Any] | None:
        """Ask the queue and then the history, so that a graph which is in neither is lost; its entry, None while it is
        at work."""
        self._next_check = time.monotonic() + _CHECK_INTERVAL
        try:
            known = self._is_in_queue()
            entry = _fetch_history(self._wire, self._queued)
        except Unreachable:
            self._failed += 1
            if self._failed == _MAX_FAILED_CHECKS:
                raise
            return None
        self._failed = 0
        if entry is not None:
            return entry
        if known:
            self._seen, self._missed = time.monotonic(), False
        elif known is False:
            if self._missed:
                raise Unreachable(
                    "ComfyUI does not know the graph any more: it was restarted, or its queue was cleared.",
                    hint="Try again.",
                )
            self._missed, self._next_check = True, time.monotonic() + _RECEIVE_TIMEOUT
        if time.monotonic() - self._seen > _SILENCE_TIMEOUT:
            raise Unreachable("ComfyUI has not said anything of the graph for long.", hint="Look at the server.")
        return None

    def _is_in_queue(self) -> bool | None:
        """Whether the server's queue has the graph, waiting or at work; None where it shows no queue."""
        try:
            queue = _read_queue(self._wire.send(HttpRequest(method="GET", path="/queue", paid=False, seconds=30)))
        except InvalidRequest:
            return None
        return None if queue is None else any(self._queued == _get_id(item) for part in queue for item in part)

    def _wait_for_entry(self) -> Mapping[str, Any]:
        """The entry of a graph that has ended; the server reports the end before it writes the history."""
        end = time.monotonic() + _HISTORY_TIMEOUT
        while True:
            entry = _fetch_history(self._wire, self._queued)
            if entry is not None:
                return entry
            if time.monotonic() > end:
                raise make_answer_error(TITLE, "no result for the graph")
            self._wire.sleep(0.2)


def make_graph_error(kind: str, data: Mapping[str, Any]) -> ProviderError:
    """The error of a graph that failed ("execution_error"), or was interrupted by somebody at the server."""
    if kind == "execution_interrupted":
        return ProviderError("The graph was interrupted at the ComfyUI server.", hint="Try again.")
    text = quote_words(str(data.get("exception_message") or data.get("exception_type") or "an error"))
    node = quote_words(str(data.get("node_type") or ""))
    return ProviderError(
        f"ComfyUI could not run the graph: {text}.",
        hint=f"Check its node {node}." if node else "Look at the server's log.",
    )


def _read_message(message: str) -> tuple[str, Mapping[str, Any]] | None:
    """(kind, data) of a message, None for what is none."""
    try:
        event = json.loads(message)
        kind, data = event["type"], event.get("data") or {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (kind, data) if isinstance(kind, str) and isinstance(data, Mapping) else None


def _open_line(wire: ProviderClient, client: str, order: RenderRequest) -> ClientConnection | None:
    """The WebSocket; None, and a notice, where it does not open though the server answers.

    Raises:
        Unreachable: nobody answers. NotConfigured: the server wants a key.
    """
    line, reason = _connect_websocket(wire, client)
    if line is None:
        try:
            wire.send(HttpRequest(method="GET", path="/queue", paid=False, seconds=20))
        except Unreachable as error:
            raise Unreachable(
                f"{TITLE} cannot be reached.", hint="Start it, or correct its address in Configurations."
            ) from error
        order.context.add_notice(f"{TITLE} does not open its WebSocket ({reason}): its steps are not shown.")
    return line


def _connect_websocket(wire: ProviderClient, client: str) -> tuple[ClientConnection | None, str]:
    """(the open WebSocket, ""), or (None, why it does not open)."""
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    base = urlsplit(wire.base_url)
    address = f"{'wss' if base.scheme == 'https' else 'ws'}://{base.netloc}{base.path}/ws?clientId={client}"
    headers = {"Authorization": f"Bearer {wire.key}"} if wire.key else {}

    def once() -> ClientConnection:
        return connect(address, additional_headers=headers, open_timeout=10, max_size=_MAX_MESSAGE_BYTES, proxy=None)

    try:
        return wire.run(once, seconds=15, paid=False), ""
    except InvalidStatus as error:
        return None, f"HTTP {error.response.status_code}"
    except (OSError, WebSocketException, TimeoutError, Unreachable) as error:
        return None, type(error).__name__


def _take_back(wire: ProviderClient, client: str, queued: str) -> None:
    """Take our graph off the server: out of its queue while it waits, interrupted only while it is the one that runs.
    Without an id it is found by our client's; it may be on its way there still."""
    for _ in range(1 if queued else 3):
        found = wire.send_last(HttpRequest(method="GET", path="/queue", paid=False))
        queue = _read_queue(found) if found is not None and found.status == 200 else None
        if queue is None:
            return
        running, pending = ([_get_id(item) for item in part if _is_ours(item, client, queued)] for part in queue)
        if pending:
            wire.send_last(HttpRequest(method="POST", path="/queue", json={"delete": pending}, paid=False))
        for one in running:
            wire.send_last(HttpRequest(method="POST", path="/interrupt", json={"prompt_id": one}, paid=False))
        if running or pending:
            return
        time.sleep(_RECEIVE_TIMEOUT)


def _is_ours(item: Any, client: str, queued: str) -> bool:
    if queued:
        return _get_id(item) == queued
    with contextlib.suppress(IndexError, TypeError, AttributeError, KeyError):
        return bool(item[3]["client_id"] == client)
    return False


def _get_id(item: Any) -> str:
    """The id of an entry of the queue: [number, id, graph, more, outputs]."""
    return str(item[1]) if isinstance(item, list) and len(item) > 1 else ""


def _read_queue(answer: HttpResponse) -> tuple[list[Any], list[Any]] | None:
    """(what runs, what waits), None for what is no queue."""
    try:
        queue = answer.json()
        running, pending = queue["queue_running"], queue["queue_pending"]
    except (ValueError, KeyError, TypeError):
        return None
    return (running, pending) if isinstance(running, list) and isinstance(pending, list) else None


def _fetch_history(wire: ProviderClient, queued: str) -> Mapping[str, Any] | None:
    """The ended graph's entry, None while it has not ended."""
    found = read_json(
        TITLE, wire.send(HttpRequest(method="GET", path=f"/history/{quote(queued, safe='')}", paid=False, seconds=30))
    )
    entry = found.get(queued)
    return entry if isinstance(entry, dict) else None

"""A chat server on loopback that speaks OpenAI's dialect, and can misbehave as real ones do."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["ChatHandler", dict[str, Any]], None]


class ChatHandler(BaseHTTPRequestHandler):
    """One request; a Reply writes the answer with the helpers below."""

    disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head

    protocol_version = "HTTP/1.1"
    server: ChatServer  # type: ignore[assignment]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(body)
        self.server.headers_seen.append(dict(self.headers))
        with contextlib.suppress(OSError):
            self.server.reply(self, body)
        self.close_connection = True

    def do_GET(self) -> None:
        self.server.headers_seen.append(dict(self.headers))
        models = self.server.models
        found = isinstance(models, list) and self.path.endswith("/models")
        self.begin(200 if found or isinstance(models, str) else models or 404, "application/json")
        self.send_text(json.dumps({"data": [{"id": name} for name in models]}) if found else str(models))
        self.close_connection = True

    def begin(self, status: int = 200, kind: str = "text/event-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()

    def send_text(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.wfile.flush()

    def send_delta(self, text: str, field: str = "content") -> None:
        self.send_text(f"data: {json.dumps({'choices': [{'delta': {field: text}}]})}\n\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


class ChatServer(ThreadingHTTPServer):
    """`reply` answers each request; `seen` are their bodies. `models` is what the list of models has: names, a status,
    or a text that is none; None: there is no list."""

    daemon_threads = True

    def __init__(self, reply: Reply, models: Any) -> None:
        super().__init__(("127.0.0.1", 0), ChatHandler)
        self.reply, self.models = reply, models
        self.seen: list[dict[str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextlib.contextmanager
def run_chat_server(reply: Reply, models: Any = None) -> Iterator[ChatServer]:
    server = ChatServer(reply, models)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def stream_text(text: str, size: int = 7) -> Reply:
    """Streams `text` in small pieces."""

    def reply(handler: ChatHandler, body: dict[str, Any]) -> None:
        handler.begin()
        for at in range(0, len(text), size):
            handler.send_delta(text[at : at + size])
        handler.send_text("data: [DONE]\n\n")

    return reply


def answer_json(content: Any, status: int = 200, **message: Any) -> Reply:
    """Answers without streaming."""

    def reply(handler: ChatHandler, body: dict[str, Any]) -> None:
        handler.begin(status, "application/json")
        handler.send_text(json.dumps({"choices": [{"message": {"content": content, **message}}]}))

    return reply


def stall(after: str = "") -> Reply:
    """Sends `after`, then nothing until the caller hangs up."""

    def reply(handler: ChatHandler, body: dict[str, Any]) -> None:
        handler.begin()
        if after:
            handler.send_delta(after)
        with contextlib.suppress(OSError):
            for _ in range(400):
                time.sleep(0.05)
                handler.send_text(": \n\n")
        handler.server.ended.set()

    return reply

"""A real HTTP server on loopback for the tests of cloud services: strict where the vendor is, able to fail in every
way, and it remembers what it was sent."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from PIL import Image


@dataclass
class ReceivedRequest:
    """One request as it came: form fields and files by name, JSON when there was some."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes
    form: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What to answer. `short` promises more bytes than it sends, `silent` never answers, `drop` hangs up without a
    word."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    short: bool = False
    silent: bool = False
    drop: bool = False


class VendorServer:
    """Answers by `handle(seen) -> Reply`; replies queued with `fail` come first."""

    def __init__(self, handle: Callable[[ReceivedRequest], Reply]) -> None:
        self.seen: list[ReceivedRequest] = []
        self._handle = handle
        self._queued: list[tuple[str, Reply]] = []
        self._lock = threading.Lock()
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                seen = outer._read_request(self)
                outer._send_reply(self, outer._choose_reply(seen))

            do_GET = do_POST = do_DELETE = do_PUT = _answer  # noqa: N815

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fail(self, reply: Reply, *, times: int = 1, path: str = "") -> None:
        """Answer the next `times` requests whose path holds `path` with `reply`."""
        with self._lock:
            self._queued += [(path, reply)] * times

    def clear_failures(self) -> None:
        """Forget the replies that are queued."""
        with self._lock:
            self._queued.clear()

    def find_requests(self, path: str) -> list[ReceivedRequest]:
        """The requests whose path holds `path`."""
        return [seen for seen in self.seen if path in seen.path]

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _read_request(self, handler: BaseHTTPRequestHandler) -> ReceivedRequest:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        parts = urlsplit(handler.path)
        seen = ReceivedRequest(handler.command, parts.path, dict(parse_qsl(parts.query)), handler.headers, body)
        kind = handler.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
            for part in message.iter_parts():  # type: ignore[attr-defined]
                name = part.get_param("name", header="content-disposition")
                raw = part.get_payload(decode=True)
                if part.get_filename():
                    seen.files[name] = raw
                else:
                    seen.form[name] = raw.decode()
        with self._lock:
            self.seen.append(seen)
        return seen

    def _choose_reply(self, seen: ReceivedRequest) -> Reply:
        with self._lock:
            for place, (path, reply) in enumerate(self._queued):
                if path in seen.path:
                    del self._queued[place]
                    return reply
        return self._handle(seen)

    def _send_reply(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.silent:
            self.released.wait(60)
        if reply.silent or reply.drop:
            handler.close_connection = True
            with contextlib.suppress(OSError):
                handler.connection.close()
            return
        raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        kind = "application/json" if not isinstance(reply.body, bytes) else "image/png"
        with contextlib.suppress(OSError):  # the client may have hung up
            handler.send_response(reply.status)
            for name, value in {"Content-Type": kind, **reply.headers}.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(raw) + (1000 if reply.short else 0)))
            handler.end_headers()
            handler.wfile.write(raw)
            handler.close_connection = reply.short


def make_png(width: int = 64, height: int = 64, colour: tuple[int, ...] = (200, 30, 30)) -> bytes:
    """A PNG of one colour."""
    out = io.BytesIO()
    Image.new("RGB" if len(colour) == 3 else "RGBA", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def make_png_bomb(side: int = 30_000) -> bytes:
    """A PNG of a few kilobytes that claims `side`² pixels."""

    def build_chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + build_chunk(b"IHDR", header)
        + build_chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + build_chunk(b"IEND", b"")
    )


@contextlib.contextmanager
def run_vendor_server(handle: Callable[[ReceivedRequest], Reply]) -> Iterator[VendorServer]:
    """A running VendorServer."""
    server = VendorServer(handle)
    try:
        yield server
    finally:
        server.close()

"""Answers made of text leave compressed: the page, JSON, styles and scripts.

By what the answer is, not by what was asked: images and archives are compressed already, a stream of events has to
arrive as it is written, and a part of a file is a part of what it was.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable

import brotli  # pyright: ignore[reportMissingTypeStubs]
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALLEST = 1024  # bytes below which the headers cost what the body saves
_TEXT_TYPES = frozenset(
    {
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "image/svg+xml",
        "text/css",
        "text/html",
        "text/javascript",
        "text/markdown",
        "text/plain",
    }
)


class CompressionMiddleware:
    """Compresses answers that are handed over whole, with brotli where the caller takes it, else with gzip."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        coding = choose_coding(Headers(scope=scope).get("accept-encoding", "")) if scope["type"] == "http" else ""
        compressing = coding and scope["method"] != "HEAD"
        await self._app(scope, receive, _Compressor(send, coding) if compressing else send)


class _Compressor:
    """Passes an answer on. Its beginning is held back until it is known whether the body comes whole."""

    def __init__(self, send: Send, coding: str) -> None:
        self._send, self._coding = send, coding
        self._held: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_text(message):
            self._held = message
            return
        start, self._held = self._held, None
        if start is not None:
            headers = MutableHeaders(scope=start)
            headers.add_vary_header("Accept-Encoding")
            body = message.get("body", b"")
            if message["type"] == "http.response.body" and not message.get("more_body") and len(body) >= SMALLEST:
                body = compress_body(body, self._coding)
                headers["Content-Encoding"] = self._coding
                headers["Content-Length"] = str(len(body))
                message = {**message, "body": body}
            await self._send(start)
        await self._send(message)


def _is_text(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return start["status"] == 200 and kind in _TEXT_TYPES and "content-encoding" not in headers


def choose_coding(accepted: str) -> str:
    """The best coding that `accepted`, the header of that name, allows; "" for none."""
    codings = [part.replace(" ", "").lower().partition(";q=") for part in accepted.split(",")]
    allowed = {name for name, _, weight in codings if not weight or weight.strip("0.")}
    return next((coding for coding in _CODINGS if coding in allowed), "")


def compress_body(body: bytes, coding: str) -> bytes:
    """`body` in `coding`, one of those that `choose_coding` returns."""
    return _CODINGS[coding](body) if coding else body


def _compress_brotli(body: bytes) -> bytes:
    return brotli.compress(body, mode=brotli.MODE_TEXT, quality=5)


def _compress_gzip(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=6)


_CODINGS: dict[str, Callable[[bytes], bytes]] = {"br": _compress_brotli, "gzip": _compress_gzip}  # the better one first

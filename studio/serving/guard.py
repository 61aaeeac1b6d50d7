"""The first check of every request: host, origin, size, closed doors, headers, access log.

Pure ASGI. Guard stands outside the whole application, so that even an internal error leaves with its headers on.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.dialects.dialect_paths import find_dialect
from studio.core.settings import Settings
from studio.serving.hosts import Hosts, TrustedProxies, is_same_origin, normalize_origin, split_names
from studio.serving.response_headers import Sender, build_refusal, build_security_headers

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
WEBSOCKET_PATHS = frozenset({"/ws", "/api/ws"})  # ComfyUI's protocol
BODY_TIMEOUT = 30.0  # seconds that an unfinished upload may be silent
FORM_OVERHEAD = 1024 * 1024  # bytes that a form may take around its file
MAX_LOGIN_BODY = 64 * 1024  # bytes, for /login
MAX_RANGES = 5

# What a proxy says of the request, and what Gradio would believe.
_PROXY_HEADERS = (b"forwarded", b"x-forwarded-", b"x-real-ip", b"x-original-", b"x-gradio-server", b"x-gradio-user")
# Gradio's doors that the studio has no use for: figures about everyone, its code editor, its proxy, files by URL.
_BLOCKED_PATHS = re.compile(
    r"/(monitoring|proxy=|gradio_api/"
    r"(monitoring|dev|vibe|undo-vibe|run-history|runs|proxy=|profiling|token|mcp|process_recording))"
)
_FILE_BY_URL = re.compile(r"/gradio_api/file[=/]\s*[a-z][a-z0-9+.-]*:/", re.IGNORECASE)
_BOUNDARY = re.compile(r'boundary="?[0-9A-Za-z\'()+_,./:=? -]{1,70}"?\s*(;|$)')


@dataclass
class Lifecycle:
    """Whether the studio is shutting down; then nothing new is begun."""

    draining: threading.Event = field(default_factory=threading.Event)


class Guard:
    """Refuse what must not come in, and put the security headers on what goes out.

    It leaves in the scope: `client` (behind a trusted proxy the address that the proxy saw) and `scheme`.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, hosts: Hosts, lifecycle: Lifecycle, access: logging.Logger
    ) -> None:
        self._app = app
        self._access = access
        self._hosts = hosts
        self._lifecycle = lifecycle
        self._proxies = TrustedProxies(settings)
        self._headers = build_security_headers(split_names(settings.frame_ancestors))
        self._root = settings.root_path.rstrip("/")
        self._origins = frozenset(normalize_origin(origin) for origin in split_names(settings.allowed_origins))
        self._largest = settings.max_upload_mb * 1024 * 1024 + FORM_OVERHEAD

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._forward_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = self._clean_scope(scope)
        sender = Sender(scope, send, self._headers)
        refusal = self._check_request(scope)
        try:
            if refusal is not None:
                await refusal(scope, receive, sender)
            else:
                await self._forward_request(scope, receive, sender)
        finally:
            sender.log_request(self._access)

    async def _forward_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a WebSocket pass to the one place that takes any, with the checks of a request."""
        scope = self._clean_scope(scope)
        refused = self._check_origin_and_host({**scope, "method": "GET"})
        if scope["path"] not in WEBSOCKET_PATHS or refused is not None or self._lifecycle.draining.is_set():
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    async def _forward_request(self, scope: Scope, receive: Receive, sender: Sender) -> None:
        limit = MAX_LOGIN_BODY if scope["path"] == "/login" else self._largest
        body = _LimitedBody(receive, limit, scope["path"])
        answer = _ResponseFilter(body, sender)
        try:
            await self._app(scope, body, answer)
        except _BodyRejected:
            if sender.started:
                raise
        if body.failure is not None and not sender.started:
            await body.failure.answer(scope, receive, sender)

    def _check_origin_and_host(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        path = scope["path"]
        if headers.get("host", "") not in self._hosts or len(headers.getlist("host")) != 1:
            return build_refusal(
                400, "BAD_HOST", "This server does not accept that host name.", "Add it to allowed_hosts.", path=path
            )
        if not self._is_origin_allowed(scope, headers):
            return build_refusal(
                403,
                "FORBIDDEN_ORIGIN",
                "This request comes from another site.",
                "Open the studio itself, or add the site to allowed_origins.",
                path=path,
            )
        return None

    def _check_request(self, scope: Scope) -> JSONResponse | None:
        """The answer to a request that goes no further, else None."""
        refusal = self._check_origin_and_host(scope)
        if refusal is not None:
            return refusal
        headers, path = Headers(scope=scope), scope["path"]
        if _BLOCKED_PATHS.match(path) or _FILE_BY_URL.match(unquote(path)):
            return build_refusal(404, "NOT_FOUND", "Not found.")
        if headers.get("range", "").count(",") >= MAX_RANGES:
            return build_refusal(416, "BAD_RANGE", "Too many byte ranges.", "Request one range.")
        return self._check_body(path, headers) or self._check_draining(scope)

    def _check_body(self, path: str, headers: Headers) -> JSONResponse | None:
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return build_refusal(400, "BAD_LENGTH", "The Content-Length is not a number.", path=path)
        if int(length) > (MAX_LOGIN_BODY if path == "/login" else self._largest):
            return _make_too_large_error(path).answer
        kind = headers.get("content-type", "")
        if kind.lower().startswith("multipart/") and not _BOUNDARY.search(kind):
            return build_refusal(400, "BAD_FORM", "The form has no usable boundary.", path=path)
        return None

    def _check_draining(self, scope: Scope) -> JSONResponse | None:
        if (
            self._lifecycle.draining.is_set()
            and scope["method"] not in SAFE_METHODS
            and scope["path"] not in ("/login", "/logout")
        ):
            return build_refusal(
                503,
                "SHUTTING_DOWN",
                "The studio is shutting down.",
                "Queued jobs are kept. Try again in a minute.",
                {"Retry-After": "60"},
                path=scope["path"],
            )
        return None

    def _is_origin_allowed(self, scope: Scope, headers: Headers) -> bool:
        """Writes, and everything of the APIs, only from our own pages or from no page at all (curl, scripts)."""
        path, origin, site = scope["path"], headers.get("origin"), headers.get("sec-fetch-site")
        for_programs = path.startswith("/api/") or find_dialect(path) is not None
        behind_api = for_programs or path.startswith("/gradio_api/")
        if scope["method"] in SAFE_METHODS and not behind_api:
            return True
        if origin is not None:
            if for_programs and normalize_origin(origin) in self._origins:
                return True
            if scope["method"] == "OPTIONS":
                return True  # a preflight: answered by the CORS rules, which let nobody else in
            if not is_same_origin(origin, headers.get("host", "")):
                return False
        followed_link = scope["method"] == "GET" and for_programs and headers.get("sec-fetch-mode") == "navigate"
        return site in (None, "same-origin", "none") or followed_link

    def _clean_scope(self, scope: Scope) -> Scope:
        """The scope without what a proxy could have said, unless one is configured; then with it taken in."""
        given = Headers(scope=scope)
        kept = [(name, value) for name, value in scope["headers"] if not name.startswith(_PROXY_HEADERS)]
        path = scope["path"]
        if self._root and (path + "/").startswith(self._root + "/"):
            path = path[len(self._root) :] or "/"  # the same route, whether or not the proxy took the prefix off
        changed = {
            **scope,
            "path": path,
            "root_path": self._root,
            "headers": kept,
            "via_share": self._hosts.is_share(given.get("host", "")),
        }
        if changed["via_share"]:
            changed["scheme"] = "https"
        elif self._proxies.trusts(scope["client"][0] if scope.get("client") else ""):
            host = given.get("x-forwarded-host", "").split(",")[-1].strip()
            if host:
                kept[:] = [(name, value) for name, value in kept if name != b"host"] + [
                    (b"host", host.encode("latin-1"))
                ]
            forwarded = self._proxies.find_client(",".join(given.getlist("x-forwarded-for")))
            if forwarded:
                changed["client"] = (forwarded[:64], 0)
            if given.get("x-forwarded-proto", "").split(",")[-1].strip() == "https":
                changed["scheme"] = "https"
        if changed["scheme"] == "https" and scope["scheme"] != "https":
            kept.append(
                (b"x-forwarded-proto", b"https")
            )  # so that Gradio builds https links; written by us, not by the caller
        return changed


class _BodyRejected(Exception):
    """The body is not read any further; `answer` is what the caller gets."""

    def __init__(self, answer: JSONResponse) -> None:
        super().__init__()
        self.answer = answer


def _make_too_large_error(path: str) -> _BodyRejected:
    hint = "Send a smaller file, or raise max_upload_mb."
    return _BodyRejected(
        build_refusal(413, "TOO_LARGE", "The upload is too large.", hint, {"Connection": "close"}, path=path)
    )


def _make_too_slow_error(path: str) -> _BodyRejected:
    return _BodyRejected(
        build_refusal(408, "TOO_SLOW", "The upload stopped.", "Send it again.", {"Connection": "close"}, path=path)
    )


class _LimitedBody:
    """A request body that may not grow past `limit` bytes nor fall silent before its end."""

    def __init__(self, receive: Receive, limit: int, path: str) -> None:
        self._receive = receive
        self._left = limit
        self._path = path
        self._complete = False
        self.failure: _BodyRejected | None = None

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), BODY_TIMEOUT)
        except TimeoutError as error:
            self.failure = _make_too_slow_error(self._path)
            raise self.failure from error
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.failure = _make_too_large_error(self._path)
            raise self.failure
        self._complete = not message.get("more_body", False)
        return message


class _ResponseFilter:
    """Holds back what the application says of a body that we cut off; ours is the better answer."""

    def __init__(self, body: _LimitedBody, sender: Sender) -> None:
        self._body = body
        self._sender = sender

    async def __call__(self, message: Message) -> None:
        if self._body.failure is None or self._sender.started:
            await self._sender(message)

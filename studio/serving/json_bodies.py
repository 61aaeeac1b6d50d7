"""JSON that comes over HTTP is looked at before anything parses it: one that is nested too deep goes no further."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.dialects.dialect_paths import find_dialect
from studio.core.errors import InvalidRequest
from studio.core.text_checks import check_json_depth
from studio.serving.response_headers import build_refusal

_FORMS = ("multipart/", "application/x-www-form-urlencoded")
# Spaces, and the marks of UTF-8, -16 and -32, which JSON may begin with.
_BEFORE_JSON = b" \t\r\n\0\xef\xbb\xbf\xff\xfe"


class JsonDepthMiddleware:
    """Refuses JSON that is nested too deep to all routes but Gradio's below `page_prefix`, whose bodies are checked
    with their session. Stands inside the login gate."""

    def __init__(self, app: ASGIApp, page_prefix: str) -> None:
        self._app = app
        self._page_prefix = page_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._page_prefix) or not _may_be_json(scope):
            await self._app(scope, receive, send)
            return
        if _is_form(scope):  # or is called one: who parses it as JSON does not look at its type
            first = await receive()
            receive = MessageReplay(first, receive)
            if not _begins_as_json(first):
                await self._app(scope, receive, send)
                return
        body = await read_body(receive)
        if body is None:
            return
        try:
            check_json_depth(body, "body")
        except InvalidRequest as error:
            refusal = build_refusal(400, error.code, error.message, error.hint, path=scope["path"])
            await refusal(scope, receive, send)
            return
        await self._app(scope, BodyReplay(body, receive), send)


def _may_be_json(scope: Scope) -> bool:
    """Whether a route might parse the body as JSON: those of other programs' APIs do, whatever its type is called."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return False
    kind = Headers(scope=scope).get("content-type", "").lower()
    return not kind or "json" in kind or find_dialect(scope["path"]) is not None


def _is_form(scope: Scope) -> bool:
    return Headers(scope=scope).get("content-type", "").lower().startswith(_FORMS)


def _begins_as_json(first: Message) -> bool:
    """Whether an object or a list begins in the first part of a body, or still may."""
    begin = first.get("body", b"").lstrip(_BEFORE_JSON)
    return begin[:1] in (b"{", b"[") or (not begin and first.get("more_body", False))


class MessageReplay:
    """A message that was received, to be received again; then what the connection says."""

    def __init__(self, message: Message, receive: Receive) -> None:
        self._message: Message | None = message
        self._receive = receive

    async def __call__(self) -> Message:
        if self._message is None:
            return await self._receive()
        message, self._message = self._message, None
        return message


class BodyReplay(MessageReplay):
    """A body that was read, to be read again; then what the connection says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        super().__init__({"type": "http.request", "body": body, "more_body": False}, receive)


async def read_body(receive: Receive) -> bytes | None:
    """The whole body; None where the caller is gone before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)

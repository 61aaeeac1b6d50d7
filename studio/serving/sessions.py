"""Owners of Gradio sessions: no user can read, cancel or continue the session of another.

Gradio lets anybody who knows a session hash or an event id use it. Here the first to use one owns it.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.core.errors import InvalidRequest
from studio.core.text_checks import check_json_depth
from studio.core.user import User
from studio.serving.json_bodies import BodyReplay, read_body
from studio.serving.response_headers import build_refusal

CAPACITY = 20_000  # sessions and events remembered
PAGE_PREFIX = "/gradio_api/"
_SESSION_IN_PATH = re.compile(
    r"/gradio_api/(?:heartbeat|stream)/(?P<id>[^/]+)|/gradio_api/call/(?:v2/)?[^/]+/(?P<event>[^/]+)/?$"
)
_SESSION_IN_FORM = re.compile(
    rb'name="?session_hash"?[^\r\n]{0,200}\r?\n(?:[^\r\n]{1,200}\r?\n){0,5}\r?\n([^\r\n]{1,200})'
)
_FILE = re.compile(r"/gradio_api/file[=/](.*)", re.DOTALL)
_CALL = re.compile(r"/gradio_api/(queue/join|call/)")
_CANCEL = re.compile(r"/gradio_api/(cancel|reset)/?$")
_UPLOAD = re.compile(r"/gradio_api/upload/?$")


class SessionOwners:
    """First come, first owned; the longest unused are forgotten beyond CAPACITY. Any thread may call it."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._owner: OrderedDict[str, str] = OrderedDict()

    def claim(self, key: str, user: str) -> bool:
        """Whether `key` is the user's, which it becomes when it is nobody's."""
        with self._lock:
            owner = self._owner.setdefault(key, user)
            self._owner.move_to_end(key)
            while len(self._owner) > self._capacity:
                self._owner.popitem(last=False)
            return owner == user

    def is_owner(self, key: str, user: str) -> bool:
        """Whether `key` is already the user's."""
        with self._lock:
            return self._owner.get(key) == user


class SessionOwnerMiddleware:
    """Refuses Gradio's routes to callers whose session or event it is not. Stands inside the login gate."""

    def __init__(self, app: ASGIApp, owners: SessionOwners, private: Sequence[Path] = ()) -> None:
        """Files below `private` are not given out by path, whatever Gradio is configured to allow; only thumbnails,
        whose names nobody can guess. Images are asked for by id, or come out of Gradio's cache."""
        self._app = app
        self._owners = owners
        self._private = tuple(path.resolve() for path in private)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PAGE_PREFIX):
            await self._app(scope, receive, send)
            return
        user = scope.get("user")
        if not isinstance(user, User):
            await build_refusal(401, "LOGIN_NEEDED", "Please log in.")(scope, receive, send)
            return
        if self._is_private(scope["path"]):
            await build_refusal(404, "NOT_FOUND", "Not found.")(scope, receive, send)
            return
        if not self._is_path_allowed(scope, user.name):
            await _send_forbidden(scope, receive, send)
            return
        if scope["method"] == "POST" and not _UPLOAD.match(scope["path"]):
            await self._handle_post(scope, receive, send, user.name)
        else:
            await self._app(scope, receive, send)

    async def _handle_post(self, scope: Scope, receive: Receive, send: Send, user: str) -> None:
        body = await read_body(receive)
        if body is None:
            return  # gone before the end
        try:
            fields = _parse_session_fields(body, Headers(scope=scope).get("content-type", ""))
        except (ValueError, RecursionError, InvalidRequest):
            await build_refusal(400, "BAD_REQUEST", "The body is not as it should be.")(scope, receive, send)
            return
        if not self._is_body_allowed(scope["path"], fields, user):
            await _send_forbidden(scope, receive, send)
            return
        answer = _EventRecorder(send, self._owners, user) if _CALL.match(scope["path"]) else send
        await self._app(scope, BodyReplay(body, receive), answer)

    def _is_private(self, path: str) -> bool:
        found = _FILE.match(path)
        if not found:
            return False
        try:
            file = Path(found[1]).resolve()
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
            return True
        below = [file.relative_to(root) for root in self._private if file.is_relative_to(root)]
        return any(".thumbs" not in place.parts for place in below)

    def _is_path_allowed(self, scope: Scope, user: str) -> bool:
        found = _SESSION_IN_PATH.match(scope["path"])
        if found and found["event"] and scope["method"] == "GET":
            return self._owners.is_owner(found["event"], user)
        if found and found["id"] and not self._owners.claim(found["id"], user):
            return False
        query = (
            parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=100)
            if scope["query_string"].count(b"&") < 100
            else {}
        )
        return all(self._owners.claim(session, user) for session in query.get("session_hash", [])[:1])

    def _is_body_allowed(self, path: str, fields: dict[str, Any], user: str) -> bool:
        session, event = fields.get("session_hash"), fields.get("event_id")
        if isinstance(session, str) and not self._owners.claim(session, user):
            return False
        if _CANCEL.match(path):
            return isinstance(event, str) and self._owners.is_owner(event, user)
        return not isinstance(event, str) or self._owners.claim(event, user)


class _EventRecorder:
    """Notes the id of the event in Gradio's answer."""

    def __init__(self, send: Send, owners: SessionOwners, user: str) -> None:
        self._send = send
        self._owners = owners
        self._user = user
        self._seen = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.body" and len(self._seen) < 4096:
            self._seen += message.get("body", b"")[:4096]
            with contextlib.suppress(ValueError):  # not all of it yet
                event = _ensure_dict(json.loads(self._seen)).get("event_id")
                if isinstance(event, str):
                    self._owners.claim(event, self._user)
        await self._send(message)


def _parse_session_fields(body: bytes, kind: str) -> dict[str, Any]:
    """The session that a call names.

    Raises:
        InvalidRequest: JSON that is nested too deep.
        ValueError: JSON that is none (infinities and not-a-number included), or a form in which the session is not
            plain to see.
    """
    if "json" in kind.lower() or not kind:
        check_json_depth(body, "body")
        return _ensure_dict(json.loads(body, parse_constant=_parse_finite, parse_float=_parse_finite))
    found = _SESSION_IN_FORM.search(body)
    if not kind.lower().startswith("multipart/form-data") or found is None or body.count(b"session_hash") != 1:
        raise ValueError("a form without its session, or with two")
    return {"session_hash": found[1].decode("latin-1")}


def _parse_finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _ensure_dict(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


async def _send_forbidden(scope: Scope, receive: Receive, send: Send) -> None:
    await build_refusal(403, "FORBIDDEN", "That session belongs to somebody else.", "Reload the page.")(
        scope, receive, send
    )

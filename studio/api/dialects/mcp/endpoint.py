"""The route /mcp. The protocol's library is imported with the first call: most studios are never asked for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from studio.api.dialects.dialect_paths import Dialect
from studio.api.dialects.error_shapes import ErrorFacts, shape_error
from studio.core.rights import Right
from studio.engine.studio import Studio

PATH = "/mcp"
MAX_SESSIONS = 1000
MAX_SESSIONS_OF_USER = 200  # so that one user leaves room for the others
IDLE_SECONDS = 1800.0  # without a request, after which a session has ended; few clients end theirs
_MARGIN_SECONDS = 60.0  # that the library's own count of them may be behind
_SESSION_HEADER = "mcp-session-id"


@dataclass
class _Session:
    """Whose session it is, how many requests of it are open, and when the last one was over."""

    user: str
    requests: int = 0
    used: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether the library has ended it."""
        return not self.requests and time.monotonic() - self.used > IDLE_SECONDS + _MARGIN_SECONDS


class McpEndpoint:
    """An ASGI application that starts the server's sessions when it is first called. `right` is what callers need."""

    right = Right.USE

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = asyncio.Lock()
        self._manager: Any = None
        self._running: asyncio.Task[None] | None = None
        self._sessions: dict[str, _Session] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not Dialect.MCP.is_enabled(self._studio.settings.current):
            hint = f"Switch on {Dialect.MCP.value} in Configurations."
            await _refuse(scope, receive, send, 404, "This API is switched off.", hint)
            return
        scope["user"].require(self.right)
        user, name = scope["user"].name, Headers(scope=scope).get(_SESSION_HEADER, "")
        session = self._sessions.get(name)
        if session is not None and session.user != user:
            await _refuse(scope, receive, send, 404, "The session was not found.", "Begin a new one.")
            return
        if not name and self._count_sessions(user) >= MAX_SESSIONS_OF_USER:
            await _refuse(scope, receive, send, 429, "Too many open sessions.", "End others with DELETE /mcp.")
            return
        manager = await self._start()
        if session is None:
            await manager.handle_request(scope, receive, send if name else self._note_session(user, send))
            return
        if scope["method"] == "DELETE":
            self._sessions.pop(name, None)
        session.requests += 1
        try:
            await manager.handle_request(scope, receive, send)
        finally:
            session.requests -= 1
            session.used = time.monotonic()

    def _count_sessions(self, user: str) -> int:
        self._sessions = {name: one for name, one in self._sessions.items() if not one.is_over}
        return sum(one.user == user for one in self._sessions.values())

    def _note_session(self, user: str, send: Send) -> Send:
        """`send` that remembers whose session an answer opens: the protocol's library knows no users of ours."""

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                opened = Headers(raw=message["headers"]).get(_SESSION_HEADER)
                if opened:
                    self._sessions.setdefault(opened, _Session(user))
            await send(message)

        return send_noted

    async def _start(self) -> Any:
        async with self._lock:
            if self._manager is None:
                started = asyncio.Event()
                self._manager = self._build_manager()
                self._running = asyncio.create_task(_hold_open(self._manager, started))
                await started.wait()
        return self._manager

    def _build_manager(self) -> Any:
        from mcp.server.transport_security import TransportSecuritySettings

        from studio.api.dialects.mcp.tools import build_mcp_server

        server = build_mcp_server(self._studio)
        limit = self._studio.settings.current.max_upload_mb * 1024 * 1024 * 4 // 3 + 1024 * 1024  # base64 and the rest
        server.streamable_http_app(  # which makes the manager; its routes are not used
            streamable_http_path=PATH,
            max_request_body_size=limit,
            max_sessions=MAX_SESSIONS,
            session_idle_timeout=IDLE_SECONDS,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the guard did it
        )
        return server.session_manager


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, *texts: str) -> None:
    message, hint = texts
    facts = ErrorFacts(status=status, code="NOT_FOUND" if status == 404 else "QUEUE_FULL", message=message, hint=hint)
    shaped = shape_error(PATH, facts)
    await JSONResponse(shaped.body, shaped.status)(scope, receive, send)


async def _hold_open(manager: Any, started: asyncio.Event) -> None:
    """Keep the sessions' tasks until the event loop ends."""
    async with manager.run():
        started.set()
        await asyncio.Event().wait()


def build_mcp_router(studio: Studio) -> APIRouter:
    """The one route."""
    routes = APIRouter(include_in_schema=False)
    routes.routes.append(Route(PATH, endpoint=McpEndpoint(studio), methods=["GET", "POST", "DELETE"]))
    return routes

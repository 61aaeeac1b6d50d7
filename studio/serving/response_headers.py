"""Responses: security headers, the line in the access log, and the form of a refusal."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import Message, Scope, Send

from studio.api.dialects.error_shapes import ErrorFacts, shape_error
from studio.core.errors import NotConfigured

_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?")

# Gradio's page runs inline scripts and builds functions from text; everything else is shut, onerror= and its like too.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "script-src-attr 'none'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def build_security_headers(ancestors: Sequence[str] = ()) -> dict[str, str]:
    """The headers of every answer. `ancestors` are the origins whose pages may show ours in a frame.

    Raises:
        NotConfigured: what is no origin.
    """
    for origin in ancestors:
        if not _ORIGIN.fullmatch(origin):
            raise NotConfigured(
                f"“{origin[:80]}” in frame_ancestors is not the origin of a site.",
                hint="Write it as https://huggingface.co, without a path.",
            )
    allowed = " ".join(("'self'", *ancestors)) if ancestors else "'none'"
    policy = f"{CONTENT_SECURITY_POLICY}; frame-ancestors {allowed}"
    headers = {"Content-Security-Policy": policy, **_SECURITY_HEADERS}
    return headers if ancestors else {**headers, "X-Frame-Options": "DENY"}


class Sender:
    """Puts the security `headers` on the answer and writes the line of the access log."""

    def __init__(self, scope: Scope, send: Send, headers: Mapping[str, str]) -> None:
        self._scope = scope
        self._send = send
        self._headers = headers
        self._began = time.perf_counter()
        self._status = 0

    @property
    def started(self) -> bool:
        return self._status != 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
            if "server" in headers:
                del headers["server"]
        await self._send(message)

    def log_request(self, access: logging.Logger) -> None:
        """One line per request: who, what, how it ended, how long. No query strings: they carry session ids."""
        scope, client = self._scope, self._scope.get("client")
        user = getattr(scope.get("user"), "name", "-")
        milliseconds = (time.perf_counter() - self._began) * 1000
        path = scope["path"].encode("unicode_escape").decode()[:200]
        fields = {
            "client": client[0] if client else "-",
            "user": user,
            "method": scope["method"],
            "path": path,
            "status": self._status,
            "milliseconds": round(milliseconds),
        }
        access.info("%s %s %s %s %d %dms", *fields.values(), extra={"fields": fields})


def build_refusal(
    status: int, code: str, message: str, hint: str = "", headers: dict[str, str] | None = None, *, path: str = ""
) -> JSONResponse:
    """An error in the shape that errors have at `path`: the studio's own, or that of the API that is served there."""
    shaped = shape_error(path, ErrorFacts(status=status, code=code, message=message, hint=hint))
    return JSONResponse(shaped.body, status_code=shaped.status, headers={**shaped.headers, **(headers or {})})

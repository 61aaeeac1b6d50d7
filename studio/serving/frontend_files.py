"""Serve the scripts and styles of Gradio's page from memory.

A page loads about a hundred of them. Gradio opens each from disk in a thread and lets the browser ask for it again at
every visit; here each is compressed once, and since its name holds a hash of its content, the browser keeps it.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.serving.compression import choose_coding, compress_body

PREFIX = "/assets/"
FOREVER = "private, max-age=31536000, immutable"
_HASHED_NAME = re.compile(r".+-[\w-]{8,}\.(js|css)")
_MEDIA_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}


def find_frontend_folder() -> Path:
    """The folder of the built files in the Gradio package, found without importing it."""
    spec = find_spec("gradio")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("gradio")
    return Path(spec.origin).parent / "templates" / "frontend" / "assets"


class FrontendFilesMiddleware:
    """Answers GET /assets/NAME for the hashed names in `folder`, listed once; everything else passes through."""

    def __init__(self, app: ASGIApp, folder: Path, root_path: str = "") -> None:
        self._app = app
        self._root = root_path.rstrip("/")
        self._paths = {path.name: path for path in folder.glob("*.*") if _HASHED_NAME.fullmatch(path.name)}
        self._bodies: dict[tuple[str, str], bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(self._root) if scope["type"] == "http" else ""
        name = path.removeprefix(PREFIX)
        if name == path or name not in self._paths or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        coding = choose_coding(Headers(scope=scope).get("accept-encoding", ""))
        body = self._bodies.get((name, coding))
        if body is None:
            body = await anyio.to_thread.run_sync(self._read_body, name, coding)
        headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"} | (
            {"Content-Encoding": coding} if coding else {}
        )
        media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
        await Response(body, headers=headers, media_type=media_type)(scope, receive, send)

    def _read_body(self, name: str, coding: str) -> bytes:
        body = compress_body(self._paths[name].read_bytes(), coding)
        self._bodies[name, coding] = body
        return body

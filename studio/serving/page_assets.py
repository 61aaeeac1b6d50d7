"""The page's own scripts, and styles of Gradio in one file, at addresses that change with their content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from fastapi import APIRouter, Request, Response

from studio.api.rights import needs
from studio.core.errors import NotFound, StudioError
from studio.core.rights import Right
from studio.serving.compression import choose_coding, compress_body

PREFIX = "page/assets"
ENTRY = "main.js"
LOADER = "loader.js"  # written into the page; it loads the others
# Every file is behind the login, hence private.
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}

_IMPORT = re.compile(r'\bfrom "(\.[^"]+)"')


class PageAssets:
    """The modules below `folder`, read once, and scripts that are `made` at the start, by name. Their addresses hold a
    hash of them all, as they import each other by relative paths."""

    def __init__(self, folder: Path, made: Mapping[str, bytes] | None = None) -> None:
        paths = sorted(folder.rglob("*.js"))
        self._files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self._files |= made or {}
        self._bodies: dict[tuple[str, str], bytes] = {}
        content = hashlib.sha256()
        for name, data in self._files.items():
            content.update(f"{name}\0{len(data)}\0".encode() + data)
        self.version = content.hexdigest()[:16]

    def get_address(self, name: str) -> str:
        """The module's address, relative to the page."""
        return f"{PREFIX}/{self.version}/{name}"

    def add_styles(self, text: str) -> str:
        """Serve styles beside the modules; returns their address, which holds a hash of them."""
        name = f"styles-{hashlib.sha256(text.encode()).hexdigest()[:16]}.css"
        self._files[name] = text.encode()
        return self.get_address(name)

    def find_imports(self, name: str) -> list[str]:
        """The modules that `name` needs before it runs, itself first."""
        found = [name]
        for each in found:
            found.extend(other for other in self._list_imports(each) if other not in found)
        return found

    def _list_imports(self, name: str) -> Iterator[str]:
        folder = PurePosixPath(name).parent
        for path in dict.fromkeys(_IMPORT.findall(self._files[name].decode())):
            parts: list[str] = []
            for part in (folder / path).parts:
                if part == "..":
                    parts.pop()
                else:
                    parts.append(part)
            yield "/".join(parts)

    def build_router(self) -> APIRouter:
        """The route of the modules. An address of another version is not found, as its answer would be kept forever."""
        router = APIRouter(include_in_schema=False, dependencies=[needs(Right.USE)])

        @router.get(f"/{PREFIX}/{{version}}/{{name:path}}")
        def get_file(version: str, name: str, request: Request) -> Response:
            if version != self.version or name not in self._files:
                raise NotFound("There is no such script.", hint="Reload the page.")
            kind = "text/css" if name.endswith(".css") else "text/javascript"
            coding = choose_coding(request.headers.get("accept-encoding", ""))
            headers = {**FOREVER, "Vary": "Accept-Encoding", **({"Content-Encoding": coding} if coding else {})}
            return Response(self._read_body(name, coding), media_type=f"{kind}; charset=utf-8", headers=headers)

        return router

    def _read_body(self, name: str, coding: str) -> bytes:
        """The file in `coding`, compressed when it is first asked for."""
        body = self._bodies.get((name, coding))
        if body is None:
            body = self._bodies[name, coding] = compress_body(self._files[name], coding)
        return body

    def render_head(
        self, *, theme: str, forms: Sequence[str], theme_styles: str, styles: str, following: Sequence[str] = ()
    ) -> str:
        """The HTML that loads the modules once one can type, along with their `styles` and files of Gradio
        (`following`), and passes the theme, the forms to restore and the titles of errors. The page has the styles of
        Gradio's theme already, at `theme_styles` in another file; all are addresses."""
        modules = [self.get_address(name) for name in self.find_imports(ENTRY)]
        values = {
            "theme": theme,
            "forms": list(forms),
            "errorTitles": list_error_titles(),
            "themeStyles": theme_styles,
            "styles": styles,
            "entry": modules[0],
            "following": [*modules[1:], *following],
        }
        settings = json.dumps(values).replace("</", "<\\/")
        return f"<script>window.easelSettings = {settings};\n{self._files[LOADER].decode()}</script>"


def list_error_titles() -> dict[str, str]:
    """The title of every error by its code: the body of an HTTP error holds the code alone."""
    kinds: list[type[StudioError]] = [StudioError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return {kind.code: kind.title for kind in reversed(kinds)}

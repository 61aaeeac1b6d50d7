"""The page's own scripts: ES modules at addresses that change with their content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from fastapi import APIRouter, Response

from studio.api.rights import needs
from studio.core.errors import NotFound, StudioError
from studio.core.rights import Right

PREFIX = "page/assets"
ENTRY = "main.js"
# Every file is behind the login, hence private.
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}

_IMPORT = re.compile(r'\bfrom "(\.[^"]+)"')
# Gradio may run scripts of components and events before the modules have loaded: what they call is noted until then.
_STAND_IN = """
window.easelSettings = {settings};
window.easelEarlyCalls = [];
window.easel = new Proxy({{}}, {{ get: (_, name) => name === "restored" ? false
  : (...values) => new Promise((done) => window.easelEarlyCalls.push([name, values, done])) }});
"""


class PageAssets:
    """The modules below `folder`, read once, and scripts that are `made` at the start, by name. Their addresses hold a
    hash of them all, as they import each other by relative paths."""

    def __init__(self, folder: Path, made: Mapping[str, bytes] | None = None) -> None:
        paths = sorted(folder.rglob("*.js"))
        self._files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self._files |= made or {}
        content = hashlib.sha256()
        for name, data in self._files.items():
            content.update(f"{name}\0{len(data)}\0".encode() + data)
        self.version = content.hexdigest()[:16]

    def get_address(self, name: str) -> str:
        """The module's address, relative to the page."""
        return f"{PREFIX}/{self.version}/{name}"

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
        def get_module(version: str, name: str) -> Response:
            if version != self.version or name not in self._files:
                raise NotFound("There is no such script.", hint="Reload the page.")
            return Response(self._files[name], media_type="text/javascript; charset=utf-8", headers=FOREVER)

        return router

    def render_head(self, *, theme: str, forms: Sequence[str]) -> str:
        """The HTML that loads the modules, all at the same time, and passes the theme, the forms to restore and the
        titles of errors."""
        values = {"theme": theme, "forms": list(forms), "errorTitles": list_error_titles()}
        settings = json.dumps(values).replace("</", "<\\/")
        preloads = (
            f'<link rel="modulepreload" href="{self.get_address(name)}" fetchpriority="low">'
            for name in self.find_imports(ENTRY)[1:]
        )
        return "".join(
            (
                f"<script>{_STAND_IN.format(settings=settings)}</script>",
                *preloads,
                f'<script type="module" src="{self.get_address(ENTRY)}"></script>',
            )
        )


def list_error_titles() -> dict[str, str]:
    """The title of every error by its code: the body of an HTTP error holds the code alone."""
    kinds: list[type[StudioError]] = [StudioError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return {kind.code: kind.title for kind in reversed(kinds)}

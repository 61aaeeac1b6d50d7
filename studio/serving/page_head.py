"""What is added to the head of the page as it is sent: hints to fetch early what the page loads one after the other.

Gradio's page loads its main script, then another, then styles, then a third script, then the files of each kind of
component, and in between what it is told to put into the head. Each step waits for the one before; with hints in the
HTML itself the browser fetches all of it at the same time. They stand before the description of the page, which is
most of the HTML: the browser sees them while the rest is still on its way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ENTRY = re.compile(r'src="\./assets/(index-[\w-]+\.js)"')
_NAMES = re.compile(r"m\.f\|\|\(m\.f=(\[.*?\])\)")
_IMPORT = re.compile(r"import\(`\./([\w.-]+\.js)`\)[^_]{0,60}__vite__mapDeps\(\[([\d,]*)\]\)")
# What of each script's imports the page loads in any case; the core script has the table of components.
_ALWAYS_LOADED = {"index": ("Index-", "core-"), "Index": ("Blocks-",)}
_CORE = "core-"
_END = b"</head>"
_BASE = re.compile(rb"<base [^>]*>")  # what addresses are relative to


class BuiltScript:
    """One of Gradio's built scripts, read for the files that it imports while it runs."""

    def __init__(self, path: Path) -> None:
        self._text = path.read_text(encoding="utf-8")
        names = _NAMES.search(self._text)
        self._names = [name.removeprefix("./") for name in json.loads(names[1])] if names else []

    def list_imports(self, start: int = 0) -> Iterator[tuple[str, list[str]]]:
        """Each script that is imported in the text after `start`, with all files that this takes."""
        for found in _IMPORT.finditer(self._text, start):
            yield found[1], [self._names[int(number)] for number in found[2].split(",") if number]

    def list_component_files(self, kind: str) -> list[str]:
        """The files for components of `kind`, when this is the script with the table of components."""
        entry = re.search(rf"[{{,]{re.escape(kind)}:\{{", self._text)
        place = self._text.find("component:()=>", entry.end()) if entry else -1
        return next(self.list_imports(place), ("", []))[1] if place >= 0 else []


def list_first_files(frontend: Path, types: Collection[str]) -> list[str]:
    """The names of the files in `frontend`/assets that Gradio's page loads before components of `types` show, about in
    the order in which it asks for them. A Gradio that is built in another way gives fewer names or none."""
    page = (frontend / "index.html").read_text(encoding="utf-8")
    entry = _ENTRY.search(page)
    found: dict[str, None] = {}
    scripts = [entry[1]] if entry else []
    for name in scripts:
        script = BuiltScript(frontend / "assets" / name)
        for imported, files in script.list_imports():
            if imported.startswith(_ALWAYS_LOADED.get(name.partition("-")[0], ())):
                scripts.append(imported)
                found |= dict.fromkeys(files)
        if name.startswith(_CORE):
            for kind in sorted(types):
                found |= dict.fromkeys(script.list_component_files(kind))
    return [name for name in found if f'/{name}"' not in page]


def render_preloads(names: Iterable[str], styles: str) -> str:
    """HTML that lets the browser fetch those scripts of the frontend early, and the `styles` at an address."""
    scripts = "".join(f'<link rel="modulepreload" crossorigin href="assets/{name}">' for name in names)
    return f'<link rel="preload" as="style" href="{styles}">{scripts}'


def read_styles(frontend: Path, names: Iterable[str]) -> dict[str, str]:
    """The text of each style among `names`, but for those that name other files by their place."""
    texts = {name: (frontend / "assets" / name).read_text(encoding="utf-8") for name in names if name.endswith(".css")}
    return {name: text for name, text in texts.items() if "url(./" not in text}


def render_styles(names: Iterable[str], address: str) -> str:
    """HTML that loads the styles `names`, joined at `address`. Gradio's page takes a style for loaded when a link names
    it, and the browser fetches none whose link is disabled, so the single ones are not asked for."""
    single = (f'<link rel="stylesheet" disabled href="assets/{name}">' for name in names)
    return f'<link rel="stylesheet" href="{address}">' + "".join(single)


PageChange = Callable[[Headers, str], str]  # of a request: its headers, and the page without the change


class PageHeadMiddleware:
    """Puts `hints` at the beginning and `html` at the end of the head of each page that `app` answers with. `change`
    makes of that what the visitor gets, by the request."""

    def __init__(self, app: ASGIApp, hints: str, html: str, change: PageChange | None = None) -> None:
        self.app = app
        self._hints, self._html = hints.encode(), html.encode()
        self._change = change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        start: Message | None = None

        async def send_page(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
                return
            if start is not None:
                held, start = start, None
                body = message.get("body", b"")
                if not message.get("more_body"):
                    body = _BASE.sub(lambda base: base[0] + self._hints, body, count=1)
                    body = body.replace(_END, self._html + _END, 1)
                    if self._change is not None:
                        MutableHeaders(scope=held).add_vary_header("Accept-Language")
                        body = self._change(Headers(scope=scope), body.decode()).encode()
                    MutableHeaders(scope=held)["Content-Length"] = str(len(body))
                await send(held)
                message = {**message, "body": body}
            await send(message)

        await self.app(scope, receive, send_page)


def _is_page(start: Message) -> bool:
    kind = MutableHeaders(raw=start["headers"]).get("content-type", "")
    return start["status"] == 200 and kind.startswith("text/html")

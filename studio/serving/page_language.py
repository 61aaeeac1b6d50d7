"""The page in the language of the visitor: the texts of its components, of its scripts, and Gradio's own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from studio.api.rights import needs
from studio.api.schemas import StrictModel
from studio.core.field_spec import AUTOMATIC, NONE, SAME_AS_FIRST
from studio.core.rights import Right
from studio.core.settings import BROWSER_LANGUAGE
from studio.tabs.common.languages import Languages, Texts, translate_message, use_texts
from studio.tabs.common.translated_page import translate_page

MAX_TEXTS, MAX_TEXT_CHARS = 8, 2000  # that a script asks for at once
_HEAD_END = "</head>"
_ACCEPTED = "accept-language"
_LIST_TEXTS = (AUTOMATIC, NONE, SAME_AS_FIRST)  # choices that the server hands to scripts
# Gradio's own texts and the page's `lang` follow the browser's language, which Gradio reads as it starts.
_SET_LANGUAGE = "<script>Object.defineProperty(navigator, 'language', {{value: '{code}', configurable: true}})</script>"


def get_script_name(code: str) -> str:
    """The name, among the page's scripts, of the one with the texts of a language."""
    return f"languages/{code}.js"


def build_text_scripts(languages: Languages, scripts: Path) -> dict[str, bytes]:
    """For each language a script with the texts that the modules below `scripts` may show, by name."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in sorted(scripts.rglob("*.js")))
    return {
        get_script_name(code): _render_texts(select_script_texts(languages.get_texts(code), sources))
        for code in languages.codes
    }


def select_script_texts(texts: Texts, sources: str) -> Texts:
    """Those of `texts` that stand in `sources`, or that the server hands to scripts."""
    return {text: shown for text, shown in texts.items() if text in _LIST_TEXTS or f'"{text}"' in sources}


def _render_texts(texts: Texts) -> bytes:
    return f"window.easelTexts = {json.dumps(texts, ensure_ascii=False)};\n".encode()


class MessagesBody(StrictModel):
    """Messages of the studio in English, as its answers have them."""

    texts: list[Annotated[str, Field(max_length=MAX_TEXT_CHARS)]] = Field(max_length=MAX_TEXTS)


class PageLanguage:
    """Says what a visitor is shown. `get_wanted` reads the setting, `get_address` gives the address of one of the
    page's scripts."""

    def __init__(
        self, languages: Languages, get_wanted: Callable[[], str], get_address: Callable[[str], str] = str
    ) -> None:
        self._languages = languages
        self._get_wanted = get_wanted
        self._get_address = get_address

    def find_texts(self, headers: Mapping[str, str]) -> Texts:
        """The catalog for a request with these headers, whose names are in lower case."""
        return self._languages.get_texts(self._choose(headers))

    async def use_for_request(self, request: Request) -> AsyncIterator[None]:
        """A dependency of routes that only the page calls: they answer in the language of the visitor."""
        with use_texts(self.find_texts(request.headers)):
            yield

    def change_page(self, headers: Mapping[str, str], page: str) -> str:
        """The HTML of the page in the language of the request; as it is in English, unless a browser would mix that
        with another."""
        code = self._choose(headers)
        texts = self._languages.get_texts(code)
        if not texts and self._get_wanted() == BROWSER_LANGUAGE:
            return page
        head = _SET_LANGUAGE.format(code=code)
        if texts:
            head += f'<script defer src="{self._get_address(get_script_name(code))}"></script>'
            page = translate_page(page, texts)
        return page.replace(_HEAD_END, head + _HEAD_END, 1)

    def _choose(self, headers: Mapping[str, str]) -> str:
        return self._languages.choose(self._get_wanted(), headers.get(_ACCEPTED, ""))


def build_texts_router() -> APIRouter:
    """The route by which scripts show messages of the HTTP API, which is English, in the language of the visitor."""
    router = APIRouter(prefix="/page", include_in_schema=False, dependencies=[needs(Right.USE)])

    @router.post("/texts")
    def translate_texts(body: MessagesBody) -> dict[str, list[str]]:
        return {"texts": [translate_message(text) for text in body.texts]}

    return router

"""The languages of the page: a catalog of texts for each, and which one a visitor gets.

A catalog is a JSON file in studio/tabs/languages/: English texts as they stand in the code, and what is shown instead.
Messages, which have names and numbers in them, are in files of their own (message_texts.py). What a catalog lacks
stays English.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path

from studio.core.settings import BROWSER_LANGUAGE, ENGLISH
from studio.tabs.common.message_texts import MessageTexts

FOLDER = Path(__file__).parents[1] / "languages"
MESSAGES = "messages"  # the folder in it with the messages
_OTHER_NAMES = {"zh-hans": "zh-CN", "zh-sg": "zh-CN", "zh": "zh-CN"}
_TRADITIONAL = ("zh-tw", "zh-hk", "zh-mo", "zh-hant")  # other characters than those of zh-CN
_MAX_ACCEPTED = 20  # languages of a header that are looked at

Texts = Mapping[str, str]
_NO_TEXTS: Texts = {}
_texts: ContextVar[Texts] = ContextVar("texts", default=_NO_TEXTS)


class Catalog(dict[str, str]):
    """The texts of a language, and its `messages`."""

    def __init__(self, texts: Texts, messages: Texts = _NO_TEXTS) -> None:
        super().__init__(texts)
        self.messages = MessageTexts(messages, lambda name: self.get(name, name))


class Languages:
    """All catalogs of `folder`, read once."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._catalogs: dict[str, Texts] = {
            path.stem: Catalog(_read_texts(path), read_messages(path.stem, folder))
            for path in sorted(folder.glob("*.json"))
        }

    @property
    def codes(self) -> tuple[str, ...]:
        """The languages that have a catalog, such as "de" and "zh-CN"; English needs none."""
        return tuple(self._catalogs)

    def get_texts(self, code: str) -> Texts:
        """The catalog of a language, empty for English."""
        return self._catalogs.get(code, _NO_TEXTS)

    def choose(self, wanted: str, accepted: str) -> str:
        """The language of a page: `wanted` by the settings, or else the best of `accepted`, a browser's
        Accept-Language; English where there is no other."""
        if wanted != BROWSER_LANGUAGE:
            return wanted if wanted in self._catalogs else ENGLISH
        for tag in parse_accepted(accepted):
            code = self._find_code(tag)
            if code:
                return code
        return ENGLISH

    def _find_code(self, tag: str) -> str:
        """The language for one tag of a browser, "" where there is none."""
        if tag.startswith(_TRADITIONAL):
            return ""
        known = {code.lower(): code for code in (*self._catalogs, ENGLISH)} | _OTHER_NAMES
        parts = tag.split("-")
        names = ("-".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((known[name] for name in names if known.get(name) in (*self._catalogs, ENGLISH)), "")


def read_messages(code: str, folder: Path = FOLDER) -> dict[str, str]:
    """The messages of a language."""
    return _read_texts(folder / MESSAGES / f"{code}.json")


def _read_texts(path: Path) -> dict[str, str]:
    """The texts in a file; none where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def parse_accepted(header: str) -> list[str]:
    """The tags of an Accept-Language header in lower case, the most wanted first; a malformed weight counts as 0."""
    weights: dict[str, float] = {}
    for part in header.split(",")[:_MAX_ACCEPTED]:
        tag, _, weight = part.partition(";")
        value = weight.strip().removeprefix("q=") or "1"
        weights.setdefault(tag.strip().lower(), float(value) if value.replace(".", "", 1).isdecimal() else 0.0)
    return [tag for tag, weight in sorted(weights.items(), key=lambda each: -each[1]) if tag and weight > 0]


@contextlib.contextmanager
def use_texts(texts: Texts) -> Iterator[None]:
    """Let `translate` look up `texts`, here and in the threads that are started from here."""
    token = _texts.set(texts)
    try:
        yield
    finally:
        _texts.reset(token)


def get_current_texts() -> Texts:
    """What `translate` looks up at present; empty for English."""
    return _texts.get()


def translate(text: str) -> str:
    """`text` in the language of the visitor whose request is being answered."""
    return _texts.get().get(text, text)


def translate_message(text: str) -> str:
    """As `translate`, for a text with names and numbers in it, or one of several sentences."""
    texts = _texts.get()
    if text in texts or not isinstance(texts, Catalog):
        return texts.get(text, text)
    return texts.messages.translate(text)

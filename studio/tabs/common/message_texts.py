"""Messages in another language: errors, toasts, notices and status lines, which reach the page with names and numbers
already in them.

A catalog of messages is a JSON file in studio/tabs/languages/messages/. A key is a message as the code has it, with
{1}, {2} … for what stands in its gaps, and its value what is shown instead, with the same gaps in any order. Words that
the code fills into gaps, such as kinds of files, are keys too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping

MAX_CHARS = 600  # of a line of messages; longer texts are data
_MOST_MATCHED = 300  # of one message with gaps: longer texts that fit almost would take long
_GAP = re.compile(r"\{(\d+)\}")
_VALUE = "((?:(?! · ).)+?)"  # what stands in a gap: not the next part of a line
_QUOTED = {"“": "”", "'": "'", "„": "“"}
_BETWEEN = (re.compile(r"( · )"), re.compile(r"(?<=[.!?])( )(?=[A-ZÄÖÜ“\d])"))  # parts of a line, sentences
_COMMA = ", "  # between words in one gap
_CACHED = 512


class MessageTexts:
    """The messages of one language. `translate_name` looks up what stands in a gap, such as the label of a field; names
    in quotes stay as they are."""

    def __init__(self, messages: Mapping[str, str], translate_name: Callable[[str], str] = str) -> None:
        self._whole = {text: shown for text, shown in messages.items() if not _GAP.search(text)}
        self._translate_name = translate_name
        self._starts: dict[str, list[_Template]] = {}
        templates = [_Template(text, shown) for text, shown in messages.items() if _GAP.search(text)]
        for template in sorted(templates, key=lambda each: -each.literal_chars):
            self._starts.setdefault(template.start, []).append(template)
        self._find = functools.lru_cache(maxsize=_CACHED)(self._find_uncached)

    def translate(self, text: str) -> str:
        """`text` in the language: as a whole, else part by part; what is not known stays."""
        return self._find(text) if 1 < len(text) <= MAX_CHARS else text

    def _find_uncached(self, text: str) -> str:
        shown = self._find_whole(text)
        if shown is not None:
            return shown
        for between in _BETWEEN:
            parts = between.split(text)
            if len(parts) > 1:
                return "".join([part if place % 2 else self.translate(part) for place, part in enumerate(parts)])
        return text

    def _find_whole(self, text: str) -> str | None:
        if text in self._whole:
            return self._whole[text]
        if len(text) > _MOST_MATCHED:
            return None
        for template in (*self._starts.get(text[0], ()), *self._starts.get("", ())):
            found = template.pattern.fullmatch(text)
            if found is not None:
                return template.fill(found, self._translate_value)
        return None

    def _translate_value(self, value: str) -> str:
        """What stands in a gap: the name of a field, a word of the code, or several of them."""
        words = value.split(_COMMA)
        if all(word in self._whole for word in words):
            return _COMMA.join(self._whole[word] for word in words)
        return self._translate_name(value)


class _Template:
    """One message with gaps, and how it is shown."""

    def __init__(self, text: str, shown: str) -> None:
        parts = _GAP.split(text)  # texts and numbers of gaps in turn
        literals, self._gaps = parts[::2], parts[1::2]
        self.start = literals[0][:1]
        self.literal_chars = sum(map(len, literals))
        self.pattern = re.compile(_VALUE.join(map(re.escape, literals)), re.DOTALL)
        self._shown = shown
        self._quoted = {
            gap
            for gap, before, after in zip(self._gaps, literals, literals[1:], strict=False)
            if after and _QUOTED.get(before[-1:]) == after[0]
        }

    def fill(self, found: re.Match[str], translate_value: Callable[[str], str]) -> str:
        """What is shown, with what stood in the gaps."""
        values = dict(zip(self._gaps, found.groups(), strict=True))
        named = {gap: value if gap in self._quoted else translate_value(value) for gap, value in values.items()}
        return _GAP.sub(lambda gap: named.get(gap[1], gap[0]), self._shown)

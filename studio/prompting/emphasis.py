"""Emphasis: `(x)`, `(x:1.2)`, `[x]`, escapes and BREAK, with AUTOMATIC1111's meaning."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

BRACKET_FACTOR = 1.1  # what one pair of round brackets multiplies by; a pair of square ones divides
_MAX_WEIGHT = 1000.0  # beyond any image, and far from overflowing float16 sums
_MAX_DEPTH = 60  # brackets open at once; more are text
_PIECE = re.compile(r"\\[()\[\]\\]?|[(\[)\]]|:\s*(?P<weight>[+-]?[.\d]+)\s*\)|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class Segment:
    """A stretch of the prompt, free of syntax, and how strongly it counts (1 is normal)."""

    text: str
    weight: float = 1.0


Part = tuple[Segment, ...]


def parse_emphasis(text: str) -> tuple[Part, ...]:
    """The text as segments, divided at BREAK; neighbours of one weight are one segment.

    Brackets without a partner count until the end of the text when they open and are text when they close. An
    escaped bracket is text, any other backslash vanishes. There is always at least one part.
    """
    reader = _Reader()
    for piece in _PIECE.finditer(text):
        reader.take(piece[0], piece["weight"])
    return reader.finish()


class _Reader:
    """Collects words and multiplies the weights of those since the bracket that just closed."""

    def __init__(self) -> None:
        self._words: list[tuple[str, float] | None] = []  # None is a BREAK
        self._open: dict[str, list[int]] = {"(": [], "[": []}

    def take(self, piece: str, weight: str | None) -> None:
        number = _parse_float(weight)
        if piece.startswith("\\"):
            self._words.append((piece[1:], 1.0))
        elif piece in self._open and len(self._open[piece]) < _MAX_DEPTH:
            self._open[piece].append(len(self._words))
        elif number is not None and self._open["("]:
            self._multiply(self._open["("].pop(), number)
        elif piece == ")" and self._open["("]:
            self._multiply(self._open["("].pop(), BRACKET_FACTOR)
        elif piece == "]" and self._open["["]:
            self._multiply(self._open["["].pop(), 1 / BRACKET_FACTOR)
        else:
            self._add_text(piece)

    def finish(self) -> tuple[Part, ...]:
        for start in self._open["("]:
            self._multiply(start, BRACKET_FACTOR)
        for start in self._open["["]:
            self._multiply(start, 1 / BRACKET_FACTOR)
        found: list[list[Segment]] = [[]]
        for word in self._words:
            if word is None:
                found.append([])
            elif found[-1] and found[-1][-1].weight == word[1]:
                found[-1][-1] = Segment(found[-1][-1].text + word[0], word[1])
            else:
                found[-1].append(Segment(*word))
        return tuple(tuple(segment for segment in part if segment.text) for part in found)

    def _add_text(self, piece: str) -> None:
        pieces = _BREAK.split(piece)
        for index, text in enumerate(pieces):
            if index > 0:
                self._words.append(None)
                text = text.lstrip()
            self._words.append((text.rstrip() if index < len(pieces) - 1 else text, 1.0))

    def _multiply(self, start: int, factor: float) -> None:
        for index in range(start, len(self._words)):
            word = self._words[index]
            if word is not None:
                self._words[index] = (word[0], max(-_MAX_WEIGHT, min(_MAX_WEIGHT, word[1] * factor)))


def _parse_float(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is None or math.isfinite(value) else None

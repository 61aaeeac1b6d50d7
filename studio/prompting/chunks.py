"""Long prompts: tokens in chunks of the size that the text encoder reads, cut as AUTOMATIC1111 cuts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from studio.prompting.emphasis import Part

COMMA_BACKTRACK = 20  # tokens; A1111's default

TokenGroup = tuple[int, ...]  # token ids that stay together: one, or all vectors of a textual inversion


@dataclass
class Chunk:
    """At most a chunk's length of token ids, and the weight of each. Start, end and padding are not among them."""

    ids: list[int] = field(default_factory=list[int])
    weights: list[float] = field(default_factory=list[float])


class _Chunker:
    def __init__(self, length: int, comma: int | None) -> None:
        self.done: list[Chunk] = []
        self.used = 0
        self._length = length
        self._comma = comma
        self._chunk = Chunk()
        self._last_comma = -1

    def add(self, unit: TokenGroup, weight: float) -> None:
        chunk = self._chunk
        if unit == (self._comma,):
            self._last_comma = len(chunk.ids)
        elif (
            len(chunk.ids) == self._length
            and self._last_comma != -1
            and len(chunk.ids) - self._last_comma <= COMMA_BACKTRACK
        ):
            cut = self._last_comma + 1
            moved = Chunk(chunk.ids[cut:], chunk.weights[cut:])
            self._chunk = Chunk(chunk.ids[:cut], chunk.weights[:cut])
            self.close()
            self._chunk = moved
        if len(self._chunk.ids) + len(unit) > self._length:
            self.close()
        self._chunk.ids += unit
        self._chunk.weights += [weight] * len(unit)

    def close(self) -> None:
        """The chunk is full, or counts as full."""
        self.used += self._length
        self._start_chunk()

    def finish(self) -> None:
        if self._chunk.ids or not self.done:
            self.used += len(self._chunk.ids)
            self._start_chunk()

    def _start_chunk(self) -> None:
        self.done.append(self._chunk)
        self._chunk = Chunk()
        self._last_comma = -1


def split_chunks(
    parts: Sequence[Part], tokenize: Callable[[str], Sequence[TokenGroup]], *, length: int, comma: int | None
) -> tuple[list[Chunk], int]:
    """The chunks of a prompt, one at least, and the number of tokens as A1111 counts them: a chunk that is left fills
    up.

    `length` is what a chunk holds; `comma` the id of ",": a chunk that would be cut within COMMA_BACKTRACK tokens
    behind a comma is cut at the comma. Each part begins a chunk of its own.
    """
    chunker = _Chunker(length, comma)
    for index, part in enumerate(parts):
        if index > 0:
            chunker.close()
        for segment in part:
            for unit in tokenize(segment.text):
                chunker.add(unit[:length], segment.weight)
    chunker.finish()
    return chunker.done, chunker.used

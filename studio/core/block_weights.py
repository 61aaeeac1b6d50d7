"""Weights of single blocks of a network, as merges and LoRAs take them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from studio.core.errors import InvalidRequest

BASE = "BASE"
"""What is in no block: text encoders, VAE, embeddings of time and size."""
_BLOCK = r"(?:BASE|(?:IN|OUT|M|DOUBLE|SINGLE|JOINT)\d{2})"
_ENTRY = re.compile(rf"({_BLOCK})(?:-({_BLOCK}))?\s*[:=]\s*(\S+)")
_NUMBER = re.compile(r"-?\d+(\.\d*)?|-?\.\d+")
_MAX_TEXT = 2000


def _list_names(kind: str, *numbers: int) -> list[str]:
    return [f"{kind}{number:02}" for number in numbers]


_LISTS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        26: (BASE, *_list_names("IN", *range(12)), "M00", *_list_names("OUT", *range(12))),
        20: (BASE, *_list_names("IN", *range(9)), "M00", *_list_names("OUT", *range(9))),
        17: (BASE, *_list_names("IN", 1, 2, 4, 5, 7, 8), "M00", *_list_names("OUT", *range(3, 12))),
        12: (BASE, *_list_names("IN", 4, 5, 7, 8), "M00", *_list_names("OUT", *range(6))),
    }
)
"""What lists of so many numbers mean: all blocks of Stable Diffusion 1 and 2, of XL; those with attention of both."""


def parse_blocks(text: str) -> Mapping[str, float]:
    """Weights by block: of a list of numbers (BASE, the input blocks, M00, the output blocks), or of entries "BLOCK:
    weight" and "BLOCK-BLOCK: weight" between commas.

    Raises:
        InvalidRequest: it is neither.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        return {}
    if len(text) > _MAX_TEXT:
        raise _make_error(f"the list is longer than {_MAX_TEXT} characters")
    if all(_is_number(part) for part in parts):
        return _read_list(parts)
    found: dict[str, float] = {}
    for part in parts:
        entry = _ENTRY.fullmatch(part.upper())
        if entry is None or not _is_number(entry[3]):
            raise _make_error(f"{part[:40]!r} is not understood")
        for block in _list_range(entry[1], entry[2] or entry[1]):
            found[block] = float(entry[3])
    return found


def is_block_weights(text: str) -> bool:
    """Whether `parse_blocks` understands `text`."""
    try:
        parse_blocks(text)
    except InvalidRequest:
        return False
    return True


def _read_list(parts: Sequence[str]) -> Mapping[str, float]:
    if len(parts) not in _LISTS:
        raise _make_error(f"a list has 26 or 17 numbers, or 20 or 12 for XL, not {len(parts)}")
    return dict(zip(_LISTS[len(parts)], map(float, parts), strict=True))


def _list_range(first: str, last: str) -> list[str]:
    if first == last:
        return [first]
    kind, start = re.fullmatch(r"([A-Z]+?)(\d*)", first).groups()  # type: ignore[union-attr]
    other, end = re.fullmatch(r"([A-Z]+?)(\d*)", last).groups()  # type: ignore[union-attr]
    if kind != other or not start or int(end) < int(start):
        raise _make_error(f"{first}-{last} is no range")
    return [f"{kind}{number:02}" for number in range(int(start), int(end) + 1)]


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _make_error(what: str) -> InvalidRequest:
    return InvalidRequest(
        f"The block weights cannot be read: {what}.",
        hint="Write entries like IN00-IN05: 0.2, M00: 0.5, OUT03: 1, or 20 or 26 numbers.",
    )

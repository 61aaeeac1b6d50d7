"""The values of an axis as AUTOMATIC1111's users type them: lists, ranges and quotes.

One typed text is a list divided by commas, with quotes around what holds a comma itself. Several texts are one value
each (ranges among them are still opened). Ranges: `1-5`, `1-10 (+3)` with a step, `1-10 [4]` with a number of values.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass

from studio.core.errors import InvalidRequest

_NUMBER = r"(?:[+-]\s*)?(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*-\s*({_NUMBER})\s*(?:\(\s*({_NUMBER})\s*\)|\[\s*(\d+)\s*\])?\s*")
_MAX_RANGE_VALUES = 1000  # values of one range


@dataclass(frozen=True)
class Size:
    """Sides in px."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"


def parse_texts(name: str, typed: tuple[str, ...]) -> list[str]:
    """The values as they are, without empty ones. Raises InvalidRequest for a quote that never ends."""
    return [text for text in parse_replacements(name, typed) if text]


def parse_replacements(name: str, typed: tuple[str, ...]) -> list[str]:
    """The values as they are, empty ones too; raises as `parse_texts`."""
    if len(typed) != 1:
        return [text.strip() for text in typed]
    if typed[0].count('"') % 2:
        raise InvalidRequest(f"The values of {name} cannot be read: a quote never ends.", hint="Close every quote.")
    try:
        rows = list(csv.reader(io.StringIO(typed[0]), skipinitialspace=True))
    except csv.Error as error:
        raise InvalidRequest(
            f"The values of {name} cannot be read: {error}.", hint="Write them as one list."
        ) from error
    return [text.strip() for row in rows for text in row]


def parse_floats(name: str, typed: tuple[str, ...]) -> list[float]:
    """Numbers, ranges opened. Raises InvalidRequest for what is neither."""
    return [value for text in parse_texts(name, typed) for value in _parse_numbers(name, text, whole=False)]


def parse_integers(name: str, typed: tuple[str, ...]) -> list[int]:
    """Whole numbers, ranges opened. Raises InvalidRequest for what is neither."""
    return [int(value) for text in parse_texts(name, typed) for value in _parse_numbers(name, text, whole=True)]


def parse_sizes(name: str, typed: tuple[str, ...]) -> list[Size]:
    """Sizes written as 512x768. Raises InvalidRequest for anything else."""
    matches = [(text, re.fullmatch(r"(\d+)\s*[x×*]\s*(\d+)", text)) for text in parse_texts(name, typed)]
    for text, match in matches:
        if match is None:
            raise InvalidRequest(f"{name}: {text!r} is not a size.", hint="Write it as 512x768.")
    return [Size(int(match[1]), int(match[2])) for _, match in matches if match is not None]


def _parse_numbers(name: str, text: str, *, whole: bool) -> list[float]:
    match = _RANGE.fullmatch(text)
    try:
        values = [text] if match is None else _expand_range(match, whole=whole)
        numbers = [int(value) if whole else float(value) for value in values]
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{name}: {text!r} is not a {'whole number' if whole else 'number'} or a range.",
            hint="For example: 1, 2, 5-9 or 1-10 (+3) or 1-10 [4].",
        ) from error
    if not whole and not all(math.isfinite(value) for value in numbers):
        raise InvalidRequest(f"{name}: {text!r} is not a number.", hint="For example: 1, 2, 5-9.")
    return [*numbers]


def _expand_range(match: re.Match[str], *, whole: bool) -> list[float]:
    kind = int if whole and "." not in match[0] else float  # large whole numbers are no floats
    start, end = (kind(part.replace(" ", "")) for part in match.group(1, 2))
    if match[4] is not None:
        count = int(match[4])
        _check_value_count(match[0], count)
        way = end - start
        points = [start + _divide(way * i, count - 1) for i in range(count)] if count > 1 else [start] * count
    else:
        step = kind(match[3].replace(" ", "")) if match[3] is not None else kind(math.copysign(1, end - start))
        if step == 0 or (end - start) * step < 0:
            raise InvalidRequest(
                f"The range {match[0].strip()!r} never reaches its end.", hint="Reverse the sign of the step."
            )
        count = int(_divide(end - start, step) + 1e-9) + 1
        _check_value_count(match[0], count)
        points = [start + step * i for i in range(count)]
    return [int(point) if whole else round(point, 10) for point in points]


def _divide(number: float, divisor: float) -> float:
    """The quotient; of whole numbers the whole one below it, exact."""
    return number // divisor if isinstance(number, int) and isinstance(divisor, int) else number / divisor


def _check_value_count(text: str, count: int) -> None:
    if count > _MAX_RANGE_VALUES:
        raise InvalidRequest(
            f"The range {text.strip()!r} has {count} values, {_MAX_RANGE_VALUES} at most.", hint="Use a larger step."
        )

"""Lists of prompts, one a line, as AUTOMATIC1111's "Prompts from file or textbox" reads them.

A line is a prompt, or begins with "--" and sets fields of the request under AUTOMATIC1111's names, as in
`--prompt "a red apple" --negative_prompt blurry --steps 20 --seed 7`.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.field_spec import RANDOM_SEED, FieldSpec
from studio.core.fields import REQUEST_FIELDS
from studio.core.request import GenerationRequest

MAX_LINES = 100
MAX_TEXT_CHARS = 1_000_000
_MARK = "--"
_TEXTS = ("prompt", "negative_prompt")
_NAMES = (
    *_TEXTS,
    "seed",
    "subseed",
    "subseed_strength",
    "sampler_name",
    "batch_size",
    "n_iter",
    "steps",
    "cfg_scale",
    "width",
    "height",
    "tiling",
)
_FIELDS: Mapping[str, FieldSpec] = {spec.a1111: spec for spec in REQUEST_FIELDS if spec.a1111 in _NAMES}
_SWITCH_WORDS = {"true": True, "1": True, "false": False, "0": False}


def read_prompt_lines(text: str) -> list[dict[str, Any]]:
    """What each line that is not empty sets, by the fields of a request; "prompt" is always among them.

    Raises:
        InvalidRequest: there are no lines or too many, or one cannot be read; the line is named.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidRequest("The list of prompts is too long.", hint=f"Use up to {MAX_TEXT_CHARS:,} characters.")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines or len(lines) > MAX_LINES:
        raise InvalidRequest(f"The list of prompts has {len(lines)} lines.", hint=f"Use 1 to {MAX_LINES} lines.")
    return [_read_line(number, line) for number, line in lines]


def apply_prompt_line(
    request: GenerationRequest, values: Mapping[str, Any], *, at_end: bool = False
) -> GenerationRequest:
    """`request` with what a line sets. Its prompts stand before those of the request, or `at_end` behind them."""
    joined: dict[str, str] = {}
    for name in _TEXTS:
        parts = [values.get(name, ""), getattr(request, name)]
        joined[name] = " ".join(part for part in (reversed(parts) if at_end else parts) if part.strip())
    return request.replace(**{**values, **joined})


def _read_line(number: int, line: str) -> dict[str, Any]:
    if not line.startswith(_MARK):
        return {"prompt": line}
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidRequest(f"Line {number} of the list cannot be read.", hint="Close each quotation mark.") from error
    values: dict[str, Any] = {"prompt": ""}
    while words:
        name, words = words[0].removeprefix(_MARK), words[1:]
        count = _count_values(name, words)
        if name not in _FIELDS or not count:
            raise InvalidRequest(f"Line {number} of the list: --{name[:40]} cannot be set.", hint=_HINT)
        spec = _FIELDS[name]
        values[spec.name] = _parse_value(number, spec, " ".join(words[:count]))
        words = words[count:]
    return values


_HINT = f"A name and a value are needed; names are {', '.join(_NAMES)}."


def _count_values(name: str, words: list[str]) -> int:
    """How many of `words` belong to the name before them: a text goes on until the next name."""
    if name not in _TEXTS:
        return min(1, len(words))
    return next((place for place, word in enumerate(words) if word.startswith(_MARK)), len(words))


def _parse_value(number: int, spec: FieldSpec, text: str) -> Any:
    value: Any = text
    try:
        if issubclass(spec.kind, bool):
            value = _SWITCH_WORDS[text.lower()]
        elif issubclass(spec.kind, (int, float)):
            value = spec.kind(text)
    except (KeyError, ValueError) as error:
        raise InvalidRequest(
            f"Line {number} of the list: {spec.label} is not {text[:40]!r}.", hint="Write a number, or true or false."
        ) from error
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest(f"Line {number} of the list: {spec.label} is not a number.", hint="Write a number.")
    return None if spec.empty == RANDOM_SEED == value else value

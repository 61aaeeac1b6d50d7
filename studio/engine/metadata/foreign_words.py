"""Foreign values in our words: names of samplers, schedules and fields as this studio has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from studio.core.foreign_samplers import name_sampling
from studio.core.infotext_keys import parse_pairs
from studio.core.model_ids import shorten_model_name
from studio.core.range_checks import MAX_LORA_WEIGHT
from studio.core.request import GenerationRequest
from studio.core.request_parts import LoraUse

_KEYS = {  # names that programs use, in the words of an infotext
    name: spec.infotext.key
    for spec in GenerationRequest.FIELDS
    if spec.infotext is not None
    for name in spec.infotext.foreign
}
_HANDLED_KEYS = {"prompt", "negativeprompt", "sampler", "scheduler", "width", "height", "loras"}
_EMPTY_NAMES = {"", "none", "automatic", "default", "default (model)"}  # a model or VAE of that name is none
_MAX_LORAS = 20
_MAX_NAME_LENGTH = 300  # characters of a name


def build_foreign_request(values: Mapping[str, Any]) -> tuple[GenerationRequest, tuple[str, ...]]:
    """(the request that `values` ask for, the names that no field of ours stands for). What is out of range counts
    among those. A sampler that we do not have keeps its foreign name."""
    pairs = {**_map_fields(values), **name_sampling(values.get("sampler"), values.get("scheduler"))}
    sides = [_parse_side(values.get(name)) for name in ("width", "height")]
    if all(sides):
        pairs["Size"] = "x".join(map(str, sides))
    request, unknown = parse_pairs(_get_text(values, "prompt"), _get_text(values, "negativeprompt"), pairs)
    loras = _parse_loras(values)
    request = request.replace(loras=loras)
    lost = {
        "scheduler": bool(values.get("scheduler")) and "Schedule type" not in pairs,
        "width": values.get("width") is not None and not all(sides),
        "height": values.get("height") is not None and not all(sides),
        "loras": len(loras) < _count(values.get("loras")),
    }
    passed_over = {name for name in values if name.lower() not in _KEYS and name.lower() not in _HANDLED_KEYS}
    passed_over |= unknown.keys() | {name for name, is_lost in lost.items() if is_lost}
    return request, tuple(sorted(passed_over))


def _map_fields(values: Mapping[str, Any]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for name, value in values.items():
        key = _KEYS.get(name.lower())
        if key is None or isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        text = str(value)[:_MAX_NAME_LENGTH]
        if key not in ("Model", "VAE"):
            pairs[key] = text
        elif text.strip().lower() not in _EMPTY_NAMES:
            pairs[key] = shorten_model_name(text)
    return pairs


def _parse_side(value: Any) -> int:
    """A side in px, 0 for none."""
    return int(value) if isinstance(value, int | str) and re.fullmatch(r"\d{1,6}", str(value)) else 0


def _count(found: Any) -> int:
    return len(cast("list[Any]", found)) if isinstance(found, list) else int(bool(found))


def _parse_loras(values: Mapping[str, Any]) -> tuple[LoraUse, ...]:
    found = values.get("loras")
    uses: list[LoraUse] = []
    for one in cast("list[Any]", found)[:_MAX_LORAS] if isinstance(found, list) else []:
        try:
            name, weight, *encoders = one
            uses.append(
                LoraUse(
                    name=shorten_model_name(str(name)[:_MAX_NAME_LENGTH]),
                    weight=_limit_weight(weight),
                    encoder_weight=_limit_weight(encoders[0]) if encoders else None,
                )
            )
        except (TypeError, ValueError):
            continue
    return tuple(use for use in uses if use.name)


def _limit_weight(weight: Any) -> float:
    return max(-MAX_LORA_WEIGHT, min(MAX_LORA_WEIGHT, float(weight)))


def _get_text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value.strip() if isinstance(value, str) else ""

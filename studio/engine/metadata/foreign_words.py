"""Foreign values in our words: names of samplers, schedules and fields as this studio has them."""

from __future__ import annotations

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
    width, height = values.get("width"), values.get("height")
    if isinstance(width, int) and isinstance(height, int):
        pairs["Size"] = f"{width}x{height}"
    request, unknown = parse_pairs(_get_text(values, "prompt"), _get_text(values, "negativeprompt"), pairs)
    request = request.replace(loras=_parse_loras(values))
    passed_over = {
        name for name in values if name.lower() not in _KEYS and name.lower() not in _HANDLED_KEYS
    } | unknown.keys()
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

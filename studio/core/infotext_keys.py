"""The keys of an infotext, from the field tables: what each writes, and what it is read as."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.field_spec import ChoiceSource, FieldSpec, HasFields, get_field
from studio.core.fields import MAX_PROMPT_CHARS
from studio.core.foreign_infotexts import convert_foreign_pairs
from studio.core.guidance_infotext import convert_guidance_pairs
from studio.core.model import Model
from studio.core.model_ids import remove_hash
from studio.core.number_format import format_number
from studio.core.request import GenerationRequest, Hires

# Before AUTOMATIC1111's version 1.9 the schedule was a part of the sampler's name: "DPM++ 2M Karras".
SCHEDULES = (
    "Karras",
    "Exponential",
    "Polyexponential",
    "SGM Uniform",
    "KL Optimal",
    "Align Your Steps",
    "Simple",
    "Normal",
    "Uniform",
    "Beta",
    "Turbo",
    "Automatic",
)

_HIRES_MARKERS = ("Hires upscale", "Hires resize", "Hires upscaler", "Hires steps")
Changes = dict[str, Any]


def build_pairs(part: HasFields, model: Model | None = None) -> dict[str, str]:
    """Every key that the fields of `part` write, in their order, with "" for what is not set.

    What is left to the model is written with the default of `model`, unless it lacks the feature. Without a model
    `part` is a later pass, whose own defaults are written too: its keys show that it is there. Two fields that share a
    key are written as one size, and only together; a field that they stand in place of is then left out.
    """
    pairs: dict[str, str] = {}
    replaced = {
        spec.name
        for spec in part.FIELDS
        if spec.replaces and all(get_field(part.FIELDS, name).is_set(getattr(part, name)) for name in spec.replaces)
    }
    for key, specs in index_keys(part.FIELDS).items():
        texts = ["" if spec.name in replaced else _format_value(spec, part, model) for spec in specs]
        pairs[key] = "x".join(texts) if all(texts) else ""
    return pairs


def index_keys(fields: Iterable[FieldSpec]) -> dict[str, list[FieldSpec]]:
    """The fields by the key that they are written under."""
    index: dict[str, list[FieldSpec]] = {}
    for spec in fields:
        if spec.infotext is not None:
            index.setdefault(spec.infotext.key, []).append(spec)
    return index


def _format_value(spec: FieldSpec, part: HasFields, model: Model | None) -> str:
    value: object = getattr(part, spec.name)
    if spec.from_model and model is not None:
        lacks = spec.feature is not None and spec.feature not in model.features
        chosen = getattr(model.sampling, spec.name) if value is None else value
        value = None if lacks else chosen
    elif spec.depends_on and not getattr(part, spec.depends_on):
        value = None
    written = spec.is_set(value) if model is not None else value not in (None, "", spec.empty)
    if not written:
        return ""
    return format_number(value) if isinstance(value, float) else str(value)


def parse_value(spec: FieldSpec, text: str) -> object:
    """`text` as a value of the field; raises ValueError or KeyError where it is none."""
    if issubclass(spec.kind, StrEnum):
        return spec.kind(text)
    if spec.kind is int:
        return _parse_integer(text)
    if spec.kind is bool:
        return {"true": True, "false": False}[text.strip().lower()]
    return float(text) if spec.kind is float else text


def _parse_integer(text: str) -> int:
    value = float(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(text) if text.lstrip("+-").isdigit() else int(value)


def parse_key(specs: list[FieldSpec], text: str) -> Changes:
    """The fields that a key's text sets; raises ValueError where it is malformed."""
    if len(specs) > 1:
        match = re.fullmatch(r"(\d+)\s*[x×]\s*(\d+)", text)
        if match is None:
            raise ValueError(text)
        return {spec.name: parse_value(spec, part) for spec, part in zip(specs, match.groups(), strict=True)}
    (spec,) = specs
    if spec.name == "sampler":
        return _parse_sampler(text)
    if spec.source is ChoiceSource.MODELS:  # AUTOMATIC1111 puts the file's hash behind the name
        text = remove_hash(text)
    return {spec.name: parse_value(spec, text)}


def _parse_sampler(text: str) -> Changes:
    for schedule in SCHEDULES:
        if text.endswith(f" {schedule}"):
            return {"sampler": text.removesuffix(f" {schedule}"), "schedule": schedule}
    return {"sampler": text}


def _parse_hires_key(specs: list[FieldSpec], text: str) -> Changes:
    """As `_parse_key`, without what A1111 writes as 0 or "Use same …" because it is taken from the first pass."""
    if text.startswith("Use same"):
        return {}
    changes = parse_key(specs, text)
    return {spec.name: changes[spec.name] for spec in specs if changes[spec.name] != spec.empty} | {
        name: value for name, value in changes.items() if name not in {spec.name for spec in specs}
    }


def parse_pairs(
    prompt: str, negative: str, pairs: Mapping[str, str], kind: type[GenerationRequest] = GenerationRequest
) -> tuple[GenerationRequest, dict[str, str]]:
    """The request, and the pairs that have no place in it because they are unknown or do not fit."""
    request = kind(prompt=prompt[:MAX_PROMPT_CHARS], negative_prompt=negative[:MAX_PROMPT_CHARS])
    pairs = _convert_forge_freeu(_convert_forge_guidance(convert_foreign_pairs(pairs)))
    pairs = convert_guidance_pairs(pairs)
    has_hires = any(sign in pairs for sign in _HIRES_MARKERS)
    first, second = _index_readable_keys(kind.FIELDS), _index_readable_keys(Hires.FIELDS) if has_hires else {}
    unknown: dict[str, str] = {}
    hires: Changes = {}
    for key, text in _sort_pairs(pairs):
        try:
            if key in second:
                changes = _parse_hires_key(second[key], text)
                request.replace(hires=Hires(**{**hires, **changes}))
                hires |= changes
            elif key in first:
                request = request.replace(**parse_key(first[key], text))
            else:
                unknown[key] = text
        except (ValueError, KeyError, OverflowError, InvalidRequest):
            unknown[key] = text
    return (request.replace(hires=Hires(**hires)) if hires else request), unknown


def _index_readable_keys(fields: Iterable[FieldSpec]) -> dict[str, list[FieldSpec]]:
    index = index_keys(fields)
    aliases = {alias: key for key, specs in index.items() for spec in specs for alias in _get_aliases(spec)}
    return {alias: index[key] for alias, key in aliases.items()} | index


def _get_aliases(spec: FieldSpec) -> tuple[str, ...]:
    return spec.infotext.aliases if spec.infotext is not None else ()


def _sort_pairs(pairs: Mapping[str, str]) -> list[tuple[str, str]]:
    """A schedule of its own comes after the sampler and so wins over the one in an old sampler's name."""
    return sorted(pairs.items(), key=lambda pair: pair[0].endswith("chedule type"))


def _convert_forge_guidance(pairs: Mapping[str, str]) -> Mapping[str, str]:
    """Forge writes the guidance of FLUX as "Distilled CFG Scale" beside a CFG scale of 1."""
    if "Distilled CFG Scale" not in pairs or pairs.get("CFG scale", "1") not in ("1", "1.0"):
        return pairs
    rest = {key: value for key, value in pairs.items() if key != "Distilled CFG Scale"}
    return {**rest, "CFG scale": pairs["Distilled CFG Scale"]}


def _convert_forge_freeu(pairs: Mapping[str, str]) -> Mapping[str, str]:
    """Forge writes each factor of FreeU by itself, and the fractions of the steps between which it works."""
    names = ("freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2")
    whole = pairs.get("freeu_start", "0") in ("0", "0.0") and pairs.get("freeu_end", "1") in ("1", "1.0")
    if pairs.get("freeu_enabled") != "True" or not whole or not all(name in pairs for name in names):
        return pairs
    taken = {"freeu_enabled", "freeu_start", "freeu_end", *names}
    rest = {key: value for key, value in pairs.items() if key not in taken}
    return {**rest, "FreeU": ", ".join(pairs[name] for name in names)}

"""What the keys of an infotext mean, one line each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.request import MAX_PROMPT_CHARS, GenerationRequest, Hires

# Before its version 1.9 the schedule was a part of the sampler's name: "DPM++ 2M Karras".
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

Changes = dict[str, Any]


def _parse_size(text: str) -> Changes:
    match = re.fullmatch(r"(\d+)\s*[x×]\s*(\d+)", text)
    if match is None:
        raise ValueError(text)
    return {"width": int(match[1]), "height": int(match[2])}


def _parse_sampler(text: str) -> Changes:
    for schedule in SCHEDULES:
        if text.endswith(f" {schedule}"):
            return {"sampler": text.removesuffix(f" {schedule}"), "schedule": schedule}
    return {"sampler": text}


def _make_reader(field: str, read: Callable[[str], Any]) -> Callable[[str], Changes]:
    return lambda text: {field: read(text)}


def _parse_integer(text: str) -> int:
    value = float(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(text) if text.lstrip("+-").isdigit() else int(value)


def _make_hires_reader(field: str) -> Callable[[str], Changes]:
    """A hires field that A1111 writes as "Use same …" when it is taken from the first pass."""
    return lambda text: {} if text.startswith("Use same") else {field: text}


FIRST_PASS_KEYS: Mapping[str, Callable[[str], Changes]] = {
    "Steps": _make_reader("steps", _parse_integer),
    "Sampler": _parse_sampler,
    "Schedule type": _make_reader("schedule", str),
    "CFG scale": _make_reader("guidance", float),
    "Seed": _make_reader("seed", _parse_integer),
    "Size": _parse_size,
    "Model": _make_reader("model", str),
    "VAE": _make_reader("vae", str),
    "Variation seed": _make_reader("variation_seed", _parse_integer),
    "Variation seed strength": _make_reader("variation_strength", float),
    "Clip skip": _make_reader("clip_skip", _parse_integer),
    "Prompt weight": _make_reader("prompt_weight", float),
    "Negative prompt weight": _make_reader("negative_weight", float),
}

HIRES_KEYS: Mapping[str, Callable[[str], Changes]] = {
    "Hires upscale": _make_reader("scale", float),
    "Hires resize": _parse_size,
    "Hires steps": lambda text: {"steps": _parse_integer(text) or None},
    "Hires upscaler": _make_reader("upscaler", str),
    "Hires sampler": lambda text: {} if text.startswith("Use same") else _parse_sampler(text),
    "Hires schedule type": _make_hires_reader("schedule"),
    "Hires checkpoint": _make_hires_reader("model"),
    "Hires CFG Scale": lambda text: {"guidance": float(text) or None},
    "Hires prompt": _make_reader("prompt", str),
    "Hires negative prompt": _make_reader("negative_prompt", str),
    "Denoising strength": _make_reader("strength", float),
}

_HIRES_MARKERS = ("Hires upscale", "Hires resize", "Hires upscaler", "Hires steps")


def parse_pairs(prompt: str, negative: str, pairs: Mapping[str, str]) -> tuple[GenerationRequest, dict[str, str]]:
    """The request, and the pairs that have no place in it because they are unknown or do not fit."""
    request = GenerationRequest(prompt=prompt[:MAX_PROMPT_CHARS], negative_prompt=negative[:MAX_PROMPT_CHARS])
    pairs = _convert_forge_guidance(pairs)
    unknown: dict[str, str] = {}
    hires: Changes = {}
    for key, text in _sort_pairs(pairs):
        try:
            if key in FIRST_PASS_KEYS:
                request = request.replace(**FIRST_PASS_KEYS[key](text))
            elif key in HIRES_KEYS and any(sign in pairs for sign in _HIRES_MARKERS):
                changes = HIRES_KEYS[key](text)
                request.replace(hires=Hires(**changes))
                hires |= changes
            else:
                unknown[key] = text
        except (ValueError, OverflowError, InvalidRequest):
            unknown[key] = text
    return (request.replace(hires=Hires(**hires)) if hires else request), unknown


def _sort_pairs(pairs: Mapping[str, str]) -> list[tuple[str, str]]:
    """A schedule of its own comes after the sampler and so wins over the one in an old sampler's name."""
    return sorted(pairs.items(), key=lambda pair: pair[0].endswith("chedule type"))


def _convert_forge_guidance(pairs: Mapping[str, str]) -> Mapping[str, str]:
    """Forge writes the guidance of FLUX as "Distilled CFG Scale" beside a CFG scale of 1."""
    if "Distilled CFG Scale" not in pairs or pairs.get("CFG scale", "1") not in ("1", "1.0"):
        return pairs
    rest = {key: value for key, value in pairs.items() if key != "Distilled CFG Scale"}
    return {**rest, "CFG scale": pairs["Distilled CFG Scale"]}

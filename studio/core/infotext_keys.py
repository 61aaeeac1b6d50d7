"""What the keys of an infotext mean, one line each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.request import MAX_PROMPT_CHARS, GenerationRequest, Hires

# Before its version 1.9 the schedule was a part of the sampler's name: "DPM++ 2M Karras".
SCHEDULES = (
    "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Align Your Steps", "Simple", "Normal", "Uniform", "Beta",
    "Turbo", "Automatic",
)  # fmt: skip

Changes = dict[str, Any]


def _size(text: str) -> Changes:
    match = re.fullmatch(r"(\d+)\s*[x×]\s*(\d+)", text)
    if match is None:
        raise ValueError(text)
    return {"width": int(match[1]), "height": int(match[2])}


def _sampler(text: str) -> Changes:
    for schedule in SCHEDULES:
        if text.endswith(f" {schedule}"):
            return {"sampler": text.removesuffix(f" {schedule}"), "schedule": schedule}
    return {"sampler": text}


def _one(field: str, read: Callable[[str], Any]) -> Callable[[str], Changes]:
    return lambda text: {field: read(text)}


def _whole(text: str) -> int:
    value = float(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(text) if text.lstrip("+-").isdigit() else int(value)


def _same(field: str) -> Callable[[str], Changes]:
    """A hires field that A1111 writes as "Use same …" when it is taken from the first pass."""
    return lambda text: {} if text.startswith("Use same") else {field: text}


FIRST_PASS: Mapping[str, Callable[[str], Changes]] = {
    "Steps": _one("steps", _whole),
    "Sampler": _sampler,
    "Schedule type": _one("schedule", str),
    "CFG scale": _one("guidance", float),
    "Seed": _one("seed", _whole),
    "Size": _size,
    "Model": _one("model", str),
    "VAE": _one("vae", str),
    "Variation seed": _one("variation_seed", _whole),
    "Variation seed strength": _one("variation_strength", float),
    "Clip skip": _one("clip_skip", _whole),
    "Prompt weight": _one("prompt_weight", float),
    "Negative prompt weight": _one("negative_weight", float),
}

HIRES: Mapping[str, Callable[[str], Changes]] = {
    "Hires upscale": _one("scale", float),
    "Hires resize": _size,
    "Hires steps": lambda text: {"steps": _whole(text) or None},
    "Hires upscaler": _one("upscaler", str),
    "Hires sampler": lambda text: {} if text.startswith("Use same") else _sampler(text),
    "Hires schedule type": _same("schedule"),
    "Hires checkpoint": _same("model"),
    "Hires CFG Scale": lambda text: {"guidance": float(text) or None},
    "Hires prompt": _one("prompt", str),
    "Hires negative prompt": _one("negative_prompt", str),
    "Denoising strength": _one("strength", float),
}

_HIRES_SIGNS = ("Hires upscale", "Hires resize", "Hires upscaler", "Hires steps")


def request_of(prompt: str, negative: str, pairs: Mapping[str, str]) -> tuple[GenerationRequest, dict[str, str]]:
    """The request, and the pairs that have no place in it because they are unknown or do not fit."""
    request = GenerationRequest(prompt=prompt[:MAX_PROMPT_CHARS], negative_prompt=negative[:MAX_PROMPT_CHARS])
    pairs = _forge(pairs)
    unknown: dict[str, str] = {}
    hires: Changes = {}
    for key, text in _in_order(pairs):
        try:
            if key in FIRST_PASS:
                request = request.replace(**FIRST_PASS[key](text))
            elif key in HIRES and any(sign in pairs for sign in _HIRES_SIGNS):
                changes = HIRES[key](text)
                request.replace(hires=Hires(**changes))
                hires |= changes
            else:
                unknown[key] = text
        except (ValueError, OverflowError, InvalidRequest):
            unknown[key] = text
    return (request.replace(hires=Hires(**hires)) if hires else request), unknown


def _in_order(pairs: Mapping[str, str]) -> list[tuple[str, str]]:
    """A schedule of its own comes after the sampler and so wins over the one in an old sampler's name."""
    return sorted(pairs.items(), key=lambda pair: pair[0].endswith("chedule type"))


def _forge(pairs: Mapping[str, str]) -> Mapping[str, str]:
    """Forge writes the guidance of FLUX as "Distilled CFG Scale" beside a CFG scale of 1."""
    if "Distilled CFG Scale" not in pairs or pairs.get("CFG scale", "1") not in ("1", "1.0"):
        return pairs
    rest = {key: value for key, value in pairs.items() if key != "Distilled CFG Scale"}
    return {**rest, "CFG scale": pairs["Distilled CFG Scale"]}

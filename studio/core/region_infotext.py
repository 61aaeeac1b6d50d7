"""Regions in infotexts: by the keys of the extension Regional Prompter, and by own ones beside them for the places of
areas, which it has none for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.lora_tags import append_tags, split_tags
from studio.core.number_format import format_number
from studio.core.region_area import MAX_AREAS, RegionArea
from studio.core.regions import count_parts, list_regions, merge_parts, split_parts
from studio.core.request import GenerationRequest, LoraUse
from studio.core.request_choices import RegionMode, RegionSplit

_SPLITS = {
    "columns": RegionSplit.COLUMNS,
    "horizontal": RegionSplit.COLUMNS,
    "rows": RegionSplit.ROWS,
    "vertical": RegionSplit.ROWS,
}
REGION_MODES = {"Latent": RegionMode.LATENT, "Attention": RegionMode.ATTENTION}
_SPLIT, _MODE = "RP Matrix submode", "RP Calc Mode"
_USED = ("RP Active", "RP Divide mode", _SPLIT, "RP Ratios", "RP Base Ratios", "RP Use Base", "RP Use Common")
_SAYS_NOTHING = (
    "RP Mask submode",
    "RP Prompt submode",
    "RP Use Ncommon",
    "RP Options",
    "RP LoRA Neg Te Ratios",
    "RP LoRA Neg U Ratios",
    "RP threshold",
    "RP LoRA Stop Step",
    "RP LoRA Hires Stop Step",
    "RP Flip",
)
"""Settings that have no effect on regions in columns and rows."""
_AREAS, _BASE, _COMMON = "Region areas", "Region base", "Region common"
_PAINTED = "painted"
_AREA = re.compile(
    rf"(?:{_PAINTED}|(?P<box>[\d.e,\-]{{7,120}}))"
    r"(?: weight (?P<weight>[\d.e\-]{1,30}))?(?: parts (?P<parts>\d{1,3}))?"
)
_NEXT_PART = "\nBREAK "


def write_region_prompts(request: GenerationRequest) -> str:
    """The prompt of `request` with the tags of its LoRAs and the prompts of its areas behind it, as Regional Prompter
    divides them."""
    first = append_general_tags(request, request.loras)
    if request.regions is not RegionSplit.AREAS or not request.areas:
        return first
    return _NEXT_PART.join([first, *(region.prompt for region in list_regions(request)[1:])])


def append_general_tags(request: GenerationRequest, uses: Sequence[LoraUse]) -> str:
    """The prompt of `request` with tags for `uses`, which hold for the whole image: where a tag would hold in its part
    of the prompt alone, each part has them."""
    whole = request.regions in (None, RegionSplit.AREAS) or request.region_mode is RegionMode.ATTENTION
    if whole or not uses:
        return append_tags(request.prompt, uses)
    first, *others = split_parts(request.prompt)
    others = others if request.region_common else [append_tags(part, uses) for part in others]
    return _NEXT_PART.join([append_tags(first, uses), *others])


def build_region_pairs(request: GenerationRequest) -> list[tuple[str, str]]:
    """The pairs that Regional Prompter would write, and of areas their places."""
    if request.regions is None:
        return []
    mode = next(name for name, mode in REGION_MODES.items() if mode is request.region_mode)
    if request.regions is RegionSplit.AREAS:
        bases = [max(0.0, 1 - area.weight * (1 - request.region_base)) for area in request.areas]
        return [
            ("RP Active", "True"),
            ("RP Divide mode", "Mask"),
            ("RP Mask submode", "Mask"),
            (_MODE, mode),
            ("RP Base Ratios", ",".join(map(format_number, bases))),
            ("RP Use Base", "True"),
            ("RP Use Common", "False"),
            (_AREAS, "; ".join(map(_write_area, request.areas))),
            (_BASE, format_number(request.region_base) if request.region_base else ""),
            (_COMMON, "True" if request.region_common else ""),
        ]
    return [
        ("RP Active", "True"),
        ("RP Divide mode", "Matrix"),
        (_SPLIT, request.regions.value.capitalize()),
        (_MODE, mode),
        ("RP Ratios", request.region_ratios),
        ("RP Base Ratios", format_number(request.region_base)),
        ("RP Use Base", str(request.region_base > 0)),
        ("RP Use Common", str(request.region_common)),
    ]


def read_regions(prompt: str, pairs: Mapping[str, str]) -> tuple[str, dict[str, Any], dict[str, str]]:
    """(the prompt without those of areas, the fields that `pairs` set for its regions, the pairs that they have no
    place for). Painted areas are among these: no infotext has their masks."""
    if _AREAS in pairs:
        try:
            return _read_areas(prompt, pairs)
        except (ValueError, InvalidRequest):
            pass  # changed by hand: the pairs are named
    return prompt, *split_region_pairs(prompt, pairs)


def _write_area(area: RegionArea) -> str:
    """Where `area` lies and how much it counts; BREAK in its prompt is counted, because it divides areas too."""
    place = _PAINTED if area.mask else ",".join(map(format_number, (area.x, area.y, area.width, area.height)))
    weight = f" weight {format_number(area.weight)}" if area.weight != 1 else ""
    count = count_parts(area.prompt)
    return f"{place}{weight}{f' parts {count}' if count > 1 else ''}"


def _read_areas(prompt: str, pairs: Mapping[str, str]) -> tuple[str, dict[str, Any], dict[str, str]]:
    """As `read_regions`, of areas with their places; raises ValueError or InvalidRequest where they do not fit."""
    found = [_AREA.fullmatch(text.strip()) for text in pairs[_AREAS].split(";")]
    specs = [spec for spec in found if spec is not None]
    counts = [int(spec["parts"] or 1) for spec in specs]
    first = count_parts(prompt) - sum(counts)
    if len(specs) != len(found) or len(specs) > MAX_AREAS or first < 1:
        raise ValueError(pairs[_AREAS])
    whole, *texts = merge_parts(prompt, [first, *counts])
    texts, has_common = _remove_common(whole, texts) if pairs.get(_COMMON) == "True" else (texts, False)
    own = {_AREAS, _BASE, _COMMON, _MODE, *_USED, *_SAYS_NOTHING}
    rest = {key: value for key, value in pairs.items() if key not in own}
    pairs_of_areas = list(zip(specs, texts, strict=True))
    rest |= {f"Painted area {n}": text for n, (spec, text) in enumerate(pairs_of_areas, 1) if not spec["box"]}
    areas = [_read_area(spec, text) for spec, text in pairs_of_areas if spec["box"]]
    if not areas:
        return prompt, {}, rest
    changes: dict[str, Any] = {
        "regions": RegionSplit.AREAS,
        "areas": tuple(areas),
        "region_base": float(pairs.get(_BASE, "0")),
        "region_common": has_common,
        "region_mode": REGION_MODES.get(pairs.get(_MODE, ""), RegionMode.LATENT),
    }
    GenerationRequest(**changes)  # refuses what is out of range
    return whole, changes, rest


def _read_area(spec: re.Match[str], prompt: str) -> RegionArea:
    x, y, width, height = (float(side) for side in spec["box"].split(","))
    return RegionArea(prompt=prompt, weight=float(spec["weight"] or 1), x=x, y=y, width=width, height=height)


def _remove_common(common: str, texts: Sequence[str]) -> tuple[list[str], bool]:
    """`texts` without the common part that each begins with, and whether all did."""
    for start in (common, split_tags(common)[0].strip()):
        if start and all(text == start or text.startswith(f"{start}, ") for text in texts):
            return [text.removeprefix(start).removeprefix(", ") for text in texts], True
    return list(texts), False


def split_region_pairs(prompt: str, pairs: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields that `pairs` set for regions of `prompt`, and the pairs that they have no place for: all of those of a
    mask, which is in no infotext."""
    rest = dict(pairs)
    if rest.get("RP Active") != "True":
        off = rest.get("RP Active") == "False"
        return {}, {key: value for key, value in rest.items() if not (off and key.startswith("RP "))}
    split = _SPLITS.get(rest.get(_SPLIT, "").strip().lower())
    if split is None or rest.get("RP Divide mode", "Matrix").strip() != "Matrix":
        return {}, rest
    uses_base = rest.get("RP Use Base") == "True"
    try:
        changes: dict[str, Any] = {
            "regions": split,
            "region_ratios": rest.get("RP Ratios", "1,1").strip(),
            "region_base": float(rest.get("RP Base Ratios", "0.2").split(",")[0]) if uses_base else 0.0,
            "region_common": rest.get("RP Use Common") == "True",
        }
        list_regions(GenerationRequest(prompt=prompt, **changes))
    except (ValueError, InvalidRequest):
        return {}, rest
    taken = {*_USED, *_SAYS_NOTHING}
    if rest.get(_MODE) in REGION_MODES:
        taken.add(_MODE)
        changes["region_mode"] = REGION_MODES[rest[_MODE]]
    return changes, {key: value for key, value in rest.items() if key not in taken}

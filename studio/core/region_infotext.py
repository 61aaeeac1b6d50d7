"""Regions in infotexts, by the keys of the extension Regional Prompter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.number_format import format_number
from studio.core.regions import list_regions
from studio.core.request import GenerationRequest
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


def write_region_prompts(request: GenerationRequest, prompt: str) -> str:
    """`prompt`, that of `request`, with those of its areas behind it, as Regional Prompter divides them."""
    if request.regions is not RegionSplit.AREAS or not request.areas:
        return prompt
    return "\nBREAK ".join([prompt, *(region.prompt for region in list_regions(request)[1:])])


def build_region_pairs(request: GenerationRequest) -> list[tuple[str, str]]:
    """The pairs that Regional Prompter would write."""
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

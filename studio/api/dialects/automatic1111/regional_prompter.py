"""The arguments of the extension Regional Prompter, as the fields of regions."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any, cast

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.region_area import RegionArea, read_area_mask
from studio.core.region_infotext import REGION_MODES, split_region_pairs
from studio.core.regions import split_parts
from studio.core.request_choices import RegionMode, RegionSplit

REGIONS_SCRIPT = "regional prompter"
_ACTIVE, _DIVISION, _BASE_RATIOS, _USES_BASE, _USES_COMMON, _MODE, _MASK = 0, 2, 7, 8, 9, 11, 16
_PLACES = {  # of the arguments that an infotext has too
    _ACTIVE: "RP Active",
    _DIVISION: "RP Divide mode",
    3: "RP Matrix submode",
    6: "RP Ratios",
    _BASE_RATIOS: "RP Base Ratios",
    _USES_BASE: "RP Use Base",
    _USES_COMMON: "RP Use Common",
    _MODE: "RP Calc Mode",
}
_MASK_COLOURS = 16  # nearer ones cannot be told apart in a JPEG
_SMALL_SIDE = 512  # px of the copy of a mask whose colours are looked for

KeepImage = Callable[[str], tuple[str, Image.Image]]
"""Lets an image of a body in: its content hash and its pixels."""


def read_regional_prompter(arguments: Any, prompt: str, keep_image: KeepImage) -> dict[str, Any]:
    """The fields that the script's `args` set for regions of `prompt`, none where it is off. With a mask the prompt is
    divided among its areas.

    Raises:
        InvalidRequest: no list, a mode without a counterpart, or a prompt that does not fit the regions.
    """
    if not isinstance(arguments, list):
        raise InvalidRequest("The arguments of Regional Prompter are not a list.", hint="Send a list.")
    given = cast("list[Any]", arguments)
    if not given or given[_ACTIVE] is not True:
        return {}
    if len(given) > _DIVISION and given[_DIVISION] == "Mask":
        return _read_mask_mode([*given, *[None] * (_MASK + 1 - len(given))], prompt, keep_image)
    pairs = {key: str(given[place]) for place, key in _PLACES.items() if place < len(given)}
    changes, _ = split_region_pairs(prompt, pairs)
    if not changes:
        raise InvalidRequest(
            "These settings of Regional Prompter have no counterpart, or do not fit the prompt.",
            hint="Use the mode Matrix with rows or columns, or Mask, and a part of the prompt for each region.",
        )
    return changes


def list_mask_colours() -> list[str]:
    """The colours that Regional Prompter paints masks with, in their order: hues that halve the gaps between those
    before."""
    hues = [0.0]
    step = 0.5
    while len(hues) < _MASK_COLOURS:
        hues += [step * (2 * place + 1) for place in range(round(0.5 / step))]
        step /= 2
    colours = (colorsys.hsv_to_rgb(hue, 0.5, 0.5) for hue in hues[:_MASK_COLOURS])
    return ["#" + "".join(f"{int(share * 256):02x}" for share in colour) for colour in colours]


def _read_mask_mode(given: list[Any], prompt: str, keep_image: KeepImage) -> dict[str, Any]:
    """The parts of the prompt for the colours of the mask, in their order: common part, base, and one for each. Without
    a base what is not painted belongs to the first."""
    mask: Any = given[_MASK]
    if isinstance(mask, dict):
        mask = cast("dict[str, Any]", mask).get("image")
    if not isinstance(mask, str) or not mask:
        raise InvalidRequest("Regional Prompter has no mask.", hint="Send it in base64 as its 17th argument.")
    name, image = keep_image(mask)
    image = image.resize((min(image.width, _SMALL_SIDE), min(image.height, _SMALL_SIDE)), Image.Resampling.NEAREST)
    colours = [colour for colour in list_mask_colours() if read_area_mask(image, colour).getbbox()]
    parts = split_parts(prompt)
    common = parts.pop(0) if given[_USES_COMMON] is True and len(parts) > 1 else ""
    parts = [f"{common}, {part}" if common else part for part in parts]
    uses_base = given[_USES_BASE] is True
    own = parts[1:] if uses_base else parts
    if not own or len(own) != len(colours):
        raise InvalidRequest(
            f"The prompt has {len(own)} parts for the {len(colours)} colours of the mask.",
            hint="Divide the prompt with BREAK, one part for each colour that Regional Prompter painted.",
        )
    bases = _read_bases(given[_BASE_RATIOS], len(own)) if uses_base else [0.0] * len(own)
    return {
        "prompt": parts[0],
        "regions": RegionSplit.AREAS,
        "region_mode": REGION_MODES.get(str(given[_MODE]), RegionMode.ATTENTION),
        "areas": tuple(
            RegionArea(prompt=part, weight=1 - base, mask=name, colour=colour)
            for part, base, colour in zip(own, bases, colours, strict=True)
        ),
    }


def _read_bases(text: Any, count: int) -> list[float]:
    """The share of the base in each region; the last one given holds for those that follow."""
    try:
        shares = [float(part) for part in str(text or "0.2").split(",")]
    except ValueError as error:
        raise InvalidRequest(
            f"The base ratios “{str(text)[:40]}” are no numbers.", hint='Write them as in "0.2,0.3".'
        ) from error
    if not all(0 <= share <= 1 for share in shares):
        raise InvalidRequest("A base ratio is not from 0 to 1.", hint="Choose a value from 0 to 1.")
    return (shares + [shares[-1]] * count)[:count]

"""Areas with prompts of their own between form values and a request; no widgets, no engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.number_format import format_number
from studio.core.region_area import AREA_COLOURS, RegionArea
from studio.core.request import GenerationRequest
from studio.tabs.common.image_fields import read_single_image

AREAS = len(AREA_COLOURS)
AREA_MAP = "area_map"
_PLACE = re.compile(r"(?P<box>[\d.,\s%]*)(?:\bmask (?P<mask>[0-9a-f]{64})(?: (?P<colour>#[0-9a-fA-F]{6}))?)?")
_SIDES = ("x", "y", "width", "height")

Values = Mapping[str, Any]


def name_area_field(name: str, index: int) -> str:
    """The name in a form of the field `name` ("prompt", "weight" or "place") of area `index`, counted from 0."""
    return f"area_{name}_{index + 1}"


def list_area_fields() -> list[str]:
    """The names of all fields of areas."""
    return [AREA_MAP, *(name_area_field(name, n) for n in range(AREAS) for name in ("prompt", "weight", "place"))]


def read_areas(values: Values) -> list[dict[str, Any]]:
    """The areas that have a prompt, as JSON of a request.

    Raises:
        InvalidRequest: there are none, one is nowhere, or a rectangle cannot be read.
    """
    painted = read_single_image(values[AREA_MAP])
    areas = [_read_area(values, index, painted) for index in range(AREAS) if _read_text(values, "prompt", index)]
    if not areas:
        raise InvalidRequest("No area has a prompt.", hint="Write one below Areas, or switch the regional prompts off.")
    return areas


def write_areas(request: GenerationRequest) -> dict[str, Any]:
    """The form values that ask for the request's areas, the inverse of `read_areas`; there is room for as many as there
    are colours. Areas of one painted mask keep their colours."""
    painted = next((area.mask for area in request.areas if _is_painted(area)), None)
    slots: dict[int, tuple[RegionArea, str]] = {}
    for area in request.areas:
        slot = AREA_COLOURS.index(area.colour) if _is_painted(area) and area.mask == painted else -1
        if slot >= 0 and slot not in slots and _write_box(area) == "":
            slots[slot] = area, ""
    for area in (one for one in request.areas if all(one is not held for held, _ in slots.values())):
        free = next((slot for slot in range(AREAS) if slot not in slots), None)
        if free is not None:
            slots[free] = area, _write_place(area)
    values: dict[str, Any] = {AREA_MAP: painted or ""}
    for index in range(AREAS):
        area, place = slots.get(index, (RegionArea(), ""))
        values |= {
            name_area_field("prompt", index): area.prompt,
            name_area_field("weight", index): area.weight,
            name_area_field("place", index): place,
        }
    return values


def _read_area(values: Values, index: int, painted: str | None) -> dict[str, Any]:
    weight = values[name_area_field("weight", index)]
    area = {"prompt": _read_text(values, "prompt", index), "weight": 1.0 if weight is None else weight}
    place = _read_text(values, "place", index)
    if place:
        return {**area, **_parse_place(place, index)}
    if painted is None:
        raise InvalidRequest(
            f"Area {index + 1} has a prompt but no place.", hint="Paint it in its colour, or write a rectangle."
        )
    return {**area, "mask": painted, "colour": AREA_COLOURS[index]}


def _parse_place(text: str, index: int) -> dict[str, Any]:
    """The rectangle or mask that `text` names: "0, 0, 0.5, 1" in fractions of the image or in per cent, "mask …"."""
    found = _PLACE.fullmatch(text)
    numbers = [part.strip() for part in found["box"].split(",") if part.strip()] if found is not None else []
    try:
        shares = [float(part.rstrip("% ")) / (100 if part.endswith("%") else 1) for part in numbers]
    except ValueError:
        shares = []
    if found is None or len(shares) not in (0, 4) or not (shares or found["mask"]):
        raise InvalidRequest(
            f"The rectangle of area {index + 1} cannot be read.",
            hint='Write x, y, width and height as fractions of the image, such as "0, 0, 0.5, 1".',
        )
    place: dict[str, Any] = dict(zip(_SIDES, shares, strict=False))
    return place | {name: found[name] for name in ("mask", "colour") if found[name]}


def _write_place(area: RegionArea) -> str:
    """The text that names the place of `area`, which is not painted on the form."""
    mask = " ".join(filter(None, ("mask", area.mask, area.colour))) if area.mask else ""
    box = _write_box(area) or ("" if mask else "0, 0, 1, 1")
    return " ".join(filter(None, (box, mask)))


def _write_box(area: RegionArea) -> str:
    """The rectangle of `area`, "" for the whole image."""
    sides = (area.x, area.y, area.width, area.height)
    return "" if sides == (0, 0, 1, 1) else ", ".join(format_number(side) for side in sides)


def _is_painted(area: RegionArea) -> bool:
    return bool(area.mask) and area.colour in AREA_COLOURS


def _read_text(values: Values, name: str, index: int) -> str:
    value = values[name_area_field(name, index)]
    return value.strip() if isinstance(value, str) else ""

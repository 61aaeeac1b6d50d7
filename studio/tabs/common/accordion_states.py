"""What a closed accordion of a form says of its fields: "2×", "neon 0.8", "2 × 3"; nothing where they are unused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.field_spec import Group, select_fields
from studio.core.fields import REQUEST_FIELDS
from studio.core.grid import PARAMETERS
from studio.core.number_format import format_number
from studio.core.social_formats import PlatformData
from studio.tabs.common.control_values import UNITS, make_field_name
from studio.tabs.common.form_values import (
    AXES,
    DETAILER_SWITCH,
    DETAILERS,
    LORA_SLOTS,
    NONE,
    name_detailer_field,
    read_value,
    split_values,
)
from studio.tabs.common.region_values import AREAS, name_area_field

MAX_STATE_CHARS = 48
_EMPTY = (None, "", NONE)

Values = Mapping[str, Any]


def describe_accordions(values: Values, platforms: PlatformData | None = None) -> dict[str, str]:
    """The state of each accordion by its element id without the form's prefix, "" for those that ask for nothing.

    `values` are a form's values as the browser has them, `platforms` the formats that its user can choose.
    """
    describers: dict[str, Callable[[], str]] = {
        "loras": lambda: _describe_loras(values),
        "hires": lambda: _describe_hires(values),
        "detailer": lambda: _describe_detailers(values),
        "region-fields": lambda: _describe_regions(values),
        "control": lambda: _describe_units(values),
        "post": lambda: _read_name(values.get("afterwards")),
        "grid": lambda: _describe_grid(values),
        "make-for": lambda: _describe_targets(values, platforms),
        "batch-images": lambda: _count_images(values.get("batch")),
        "references": lambda: _count_images(values.get("reference")),
        "advanced": lambda: _describe_details(values),
    }
    return {name: _shorten(describe()) for name, describe in describers.items()}


def _describe_loras(values: Values) -> str:
    slots = ((_read_name(values.get(f"lora_{n}")), values.get(f"lora_weight_{n}")) for n in range(LORA_SLOTS))
    return ", ".join(f"{name.rpartition('/')[2]} {_format_value(weight)}".strip() for name, weight in slots if name)


def _describe_hires(values: Values) -> str:
    if values.get("hires_on") is not True:
        return ""
    width, height = values.get("hires_width"), values.get("hires_height")
    size = f"{width} × {height}" if width and height else f"{_format_value(values.get('hires_scale'))}×"
    return f"{size} {_read_name(values.get('hires_upscaler'))}".strip()


def _describe_detailers(values: Values) -> str:
    on = [n for n in range(DETAILERS) if values.get(name_detailer_field(DETAILER_SWITCH, n)) is True]
    return ", ".join(_format_value(values.get(name_detailer_field("detailer_target", n))) for n in on)


def _describe_regions(values: Values) -> str:
    """How the image is divided: with the shares of columns and rows, or the number of areas."""
    split = values.get("regions")
    if split == "Areas":
        count = sum(bool(_read_name(values.get(name_area_field("prompt", index)))) for index in range(AREAS))
        return f"{count} area{'' if count == 1 else 's'}"
    return f"{split} {_read_name(values.get('region_ratios'))}".strip() if split in ("Columns", "Rows") else ""


def _describe_units(values: Values) -> str:
    on = [index for index in range(UNITS) if values.get(make_field_name(index, "on")) is True]
    names = [_read_name(values.get(make_field_name(index, "model"))).rpartition("/")[2] for index in on]
    return ", ".join(name or "no model" for name in names)


def _describe_grid(values: Values) -> str:
    """The number of values of each axis that is on."""
    axes = ((values.get(f"axis_{axis}"), values.get(f"axis_{axis}_values")) for axis in AXES)
    counts = [_count_values(name, typed) for name, typed in axes if name not in _EMPTY]
    return " × ".join(counts) if len(counts) != 1 else f"{counts[0]} values"


def _count_values(name: object, typed: object) -> str:
    parameter = PARAMETERS.get(str(name))
    if parameter is None or not isinstance(typed, str):
        return "?"
    try:
        return str(len(parameter.read(parameter.name, split_values(typed))))
    except InvalidRequest:
        return "?"


def _describe_targets(values: Values, platforms: PlatformData | None) -> str:
    if platforms is None:
        return ""
    titles = {platform.id: platform.title for platform in platforms.platforms()}
    pack = values.get("for_pack")
    chosen = [titles.get(each, "") for each in pack if isinstance(each, str)] if isinstance(pack, list) else []
    one = next((each for each in platforms.formats() if each.id == values.get("for_format")), None)
    first = [f"{titles[one.platform]} {one.name}"] if one is not None else []
    return ", ".join(filter(None, [*first, *chosen]))


def _count_images(names: object) -> str:
    count = len(names.split()) if isinstance(names, str) else 0
    return f"{count} image{'' if count == 1 else 's'}" if count else ""


def _describe_details(values: Values) -> str:
    """The labels of the fields that are set, with their values where these are numbers or names."""
    fallbacks = values.get("fallbacks")
    parts = [f"{len(fallbacks)} fallback models"] if isinstance(fallbacks, list) and fallbacks else []
    for spec in select_fields(REQUEST_FIELDS, Group.DETAILS):
        if spec.widget is None or (spec.depends_on and not values.get(spec.depends_on)):
            continue
        value = values.get(spec.form_name)
        try:
            held = read_value(spec, value)
        except InvalidRequest:
            continue
        if held is None or not spec.is_set(held) or held == spec.initial:
            continue
        parts.append(spec.label if held is True else f"{spec.label} {_format_value(value)}")
    return ", ".join(parts)


def _read_name(value: object) -> str:
    return "" if value in _EMPTY or not isinstance(value, str) else value


def _format_value(value: object) -> str:
    """Short text for a number or a name; "" for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_number(value)
    return value if isinstance(value, str) else ""


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_STATE_CHARS else text[: MAX_STATE_CHARS - 1].rstrip(", ") + "…"

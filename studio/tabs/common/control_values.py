"""Control units between form values and a request; no widgets, no engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlMode, Resize
from studio.tabs.common import image_fields
from studio.tabs.common.form_values import NONE, split_values

UNITS = 3
FINISHED_MAP = "none"
CONTROL_MODES = {
    "Balanced": ControlMode.BALANCED,
    "Prompt matters more": ControlMode.PROMPT,
    "Control matters more": ControlMode.CONTROL,
}
CONTROL_RESIZES = {"Crop": Resize.CROP, "Stretch": Resize.STRETCH, "Fill": Resize.FILL}


def read_units(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The units that are on, as JSON of a request.

    Raises:
        InvalidRequest: one without a model, or with options that cannot be read.
    """
    on = [index for index in range(UNITS) if values[make_field_name(index, "on")] is True]
    for index in on:
        if values[make_field_name(index, "model")] in (NONE, None, ""):
            raise InvalidRequest(f"Control unit {index + 1} has no model.", hint="Choose one, or switch the unit off.")
    return [read_unit(values, index) for index in on]


def read_unit(values: Mapping[str, Any], index: int) -> dict[str, Any]:
    """One unit, on or off, with or without a model; raises as `read_units`."""
    held = {key: values[make_field_name(index, key)] for key in ("weight", "start", "end", "resolution")}
    model = values[make_field_name(index, "model")]
    return held | {
        "model": "" if model in (NONE, None) else model,
        "preprocessor": values[make_field_name(index, "preprocessor")] or FINISHED_MAP,
        "image": image_fields.read_single_image(values[make_field_name(index, "image")]),
        "mode": CONTROL_MODES.get(str(values[make_field_name(index, "mode")]), ControlMode.BALANCED),
        "resize": CONTROL_RESIZES.get(str(values[make_field_name(index, "resize")]), Resize.CROP),
        "pixel_perfect": values[make_field_name(index, "perfect")] is not False,
        "options": _parse_options(values[make_field_name(index, "options")]),
    }


def write_units(request: GenerationRequest) -> dict[str, Any]:
    """The form values that ask for the request's units: the inverse of `read_units`."""
    values: dict[str, Any] = {}
    for index in range(UNITS):
        unit = request.control[index] if index < len(request.control) else None
        values[make_field_name(index, "on")] = unit is not None
        if unit is None:
            continue
        values |= {
            make_field_name(index, key): value
            for key, value in {
                "model": unit.model or NONE,
                "preprocessor": unit.preprocessor,
                "image": unit.image or "",
                "weight": unit.weight,
                "start": unit.start,
                "end": unit.end,
                "resolution": unit.resolution,
                "mode": next(name for name, mode in CONTROL_MODES.items() if mode is unit.mode),
                "resize": next((name for name, resize in CONTROL_RESIZES.items() if resize is unit.resize), "Crop"),
                "perfect": unit.pixel_perfect,
                "options": ", ".join(f"{option.name}={option.value:.10g}" for option in unit.options),
            }.items()
        }
    return values


def _parse_options(text: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for pair in split_values(text if isinstance(text, str) else ""):
        name, _, value = pair.partition("=")
        try:
            found.append({"name": name.strip(), "value": float(value)})
        except ValueError as error:
            raise InvalidRequest(
                f"“{pair}” is not a valid preprocessor option.", hint="Write name = value, for example low = 100."
            ) from error
    return found


def make_field_name(index: int, key: str) -> str:
    """The name of field `key` of unit `index` in a form."""
    return f"unit_{index}_{key}"

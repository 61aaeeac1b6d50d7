"""The step Finish of Extras: from the form's values to a request and back. The form counts in per cent and kB, a
request in fractions and bytes."""

from __future__ import annotations

import functools
import math
from typing import Any

from studio.core.codec import decode_json
from studio.core.errors import InvalidRequest
from studio.core.field_spec import FieldSpec, Limits, Widget, adapt_fields
from studio.core.field_tables.finish import (
    BOX_FIELDS,
    DERIVATIVE_FIELDS,
    FILE_FIELDS,
    FILE_FORMATS,
    PERCENT,
    TEXT_FIELDS,
    WATERMARK_FIELDS,
)
from studio.core.finish import Box, Derivative, Finish, OutputOptions, TextOverlay, Watermark
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.tabs.common.form_values import Values, parse_request, read_fields, write_fields, write_values
from studio.tabs.common.image_fields import read_single_image

SLOTS = 6  # derivatives
NO_FORMAT = "–"
_INSET = {"help": "", "widget": Widget.NUMBER, "unset": 0.0, "slider": Limits(0, 99), "form_scale": PERCENT}
CROP_FIELDS = adapt_fields(BOX_FIELDS, **{spec.name: {**_INSET, "form": f"crop_{spec.name}"} for spec in BOX_FIELDS})
"""How much is cut off at each side; a request has the box that is left."""


@functools.cache
def list_derivative_fields(slot: int) -> tuple[FieldSpec, ...]:
    """The fields of row `slot` of the derivatives, counted from 0, besides those of its file."""
    return adapt_fields(
        DERIVATIVE_FIELDS,
        width={"label": "Width", "help": "", "form": f"d{slot}_width"},
        height={"label": "Height", "help": "", "form": f"d{slot}_height"},
        crop={"help": "", "form": f"d{slot}_crop"},
    )


@functools.cache
def list_derivative_file_fields(slot: int) -> tuple[FieldSpec, ...]:
    """The fields of the file in row `slot`, counted from 0; what they leave open is as in the one file."""
    return adapt_fields(
        FILE_FIELDS,
        format={"help": "", "options": {NO_FORMAT: None, **FILE_FORMATS}, "form": f"d{slot}_format"},
        quality={"label": "Quality", "help": "", "widget": Widget.NUMBER, "form": f"d{slot}_quality"},
    )


def read_finish_step(values: Values) -> GenerationRequest:
    """The step, its file with it.

    Raises:
        InvalidRequest: a value of the wrong kind or out of range.
    """
    file = read_fields(FILE_FIELDS, values)
    finish: dict[str, Any] = {
        "crop": _read_crop(values),
        "width": _read_count(values, "width"),
        "height": _read_count(values, "height"),
        "text": _read_text_overlay(values),
        "watermark": _read_watermark(values),
        "derivatives": _read_derivatives(values, file),
    }
    return parse_request({"task": Task.FINISH, "finish": _drop_none(finish), "file": file or None})


def write_finish_step(step: GenerationRequest) -> dict[str, Any]:
    """The values that ask for `step`.

    Raises:
        InvalidRequest: more texts or derivatives than the form has room for.
    """
    finish = step.finish or Finish()
    if len(finish.text) > 1 or len(finish.derivatives) > SLOTS:
        raise InvalidRequest(
            f"This has {len(finish.text)} texts and {len(finish.derivatives)} derivatives.",
            hint=f"The form has room for one text and {SLOTS} derivatives.",
        )
    return {
        **_write_crop(finish.crop or Box()),
        **write_fields(finish),
        **write_fields(step.file or OutputOptions()),
        **write_fields(finish.text[0] if finish.text else TextOverlay()),
        **write_fields(finish.watermark or Watermark()),
        "mark_image": (finish.watermark.image if finish.watermark else None) or "",
        **_write_derivatives(finish.derivatives),
    }


def _read_crop(values: Values) -> dict[str, float] | None:
    left, top, right, bottom = (_read_number(values, spec.form_name) / spec.form_scale for spec in CROP_FIELDS)
    if not any((left, top, right, bottom)):
        return None
    return {"left": left, "top": top, "right": round(1 - right, 6), "bottom": round(1 - bottom, 6)}


def _write_crop(box: Box) -> dict[str, Any]:
    insets = {"left": box.left, "top": box.top, "right": 1 - box.right, "bottom": 1 - box.bottom}
    return {spec.form_name: spec.to_form(insets[spec.name]) for spec in CROP_FIELDS}


def _read_text_overlay(values: Values) -> list[dict[str, Any]] | None:
    read = read_fields(TEXT_FIELDS, values)
    words = decode_json(str, read.get("text", ""), "text")
    return [read] if words.strip() else None


def _read_watermark(values: Values) -> dict[str, Any] | None:
    read = read_fields(WATERMARK_FIELDS, values)
    image = read_single_image(values["mark_image"])
    if not (image or read.get("text") or read.get("hidden")):
        return None
    return _drop_none({"image": image, **read})


def _read_derivatives(values: Values, file: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows in use; what a row leaves open is as the one file would be."""
    found: list[dict[str, Any]] = []
    for slot in range(SLOTS):
        kind = values[f"d{slot}_format"]
        width, height = _read_count(values, f"d{slot}_width"), _read_count(values, f"d{slot}_height")
        if not width and not height and kind in (None, "", NO_FORMAT):
            continue
        own = _drop_none({"format": FILE_FORMATS.get(str(kind)), "quality": _read_count(values, f"d{slot}_quality")})
        row = {
            "width": width,
            "height": height,
            "crop": values[f"d{slot}_crop"] is True or None,
            "file": {**file, **own} or None,
        }
        found.append(_drop_none(row))
    return found or None


def _write_derivatives(derivatives: tuple[Derivative, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for slot in range(SLOTS):
        one = derivatives[slot] if slot < len(derivatives) else Derivative()
        values |= write_values(list_derivative_fields(slot), one)
        values |= write_values(list_derivative_file_fields(slot), one.file)
    return values


def _read_number(values: Values, name: str) -> float:
    figure = decode_json(float, values[name] or 0, name.replace("_", " "))
    if not math.isfinite(figure):
        raise InvalidRequest(f"The {name.replace('_', ' ')} is not a number.", hint="Type one.")
    return figure


def _read_count(values: Values, name: str) -> int | None:
    """A whole number; 0 and an empty field mean none."""
    return round(_read_number(values, name)) or None


def _drop_none(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}

"""The step Finish of Extras: from the form's values to a request and back. The form counts in per cent and kB, a
request in fractions and bytes."""

from __future__ import annotations

import math
from typing import Any

from studio.core.codec import decode_json
from studio.core.errors import InvalidRequest
from studio.core.field_tables.finish import FILE_FIELDS, FILE_FORMATS, TEXT_FIELDS, WATERMARK_FIELDS
from studio.core.finish import Box, Derivative, Finish, OutputOptions, TextOverlay, Watermark
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.tabs.common.form_values import Values, parse_request, read_fields, write_fields
from studio.tabs.common.image_fields import read_single_image

SLOTS = 6  # derivatives
SIDES = ("left", "top", "right", "bottom")
NO_FORMAT = "–"


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
    box = finish.crop or Box()
    return {
        "crop_left": _to_percent(box.left),
        "crop_top": _to_percent(box.top),
        "crop_right": _to_percent(1 - box.right),
        "crop_bottom": _to_percent(1 - box.bottom),
        "width": finish.width or 0,
        "height": finish.height or 0,
        **write_fields(step.file or OutputOptions()),
        **write_fields(finish.text[0] if finish.text else TextOverlay()),
        **write_fields(finish.watermark or Watermark()),
        "mark_image": (finish.watermark.image if finish.watermark else None) or "",
        **_write_derivatives(finish.derivatives),
    }


def _read_crop(values: Values) -> dict[str, float] | None:
    left, top, right, bottom = (_read_number(values, f"crop_{side}") / 100 for side in SIDES)
    if not any((left, top, right, bottom)):
        return None
    return {"left": left, "top": top, "right": round(1 - right, 6), "bottom": round(1 - bottom, 6)}


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
        one = derivatives[slot] if slot < len(derivatives) else None
        kind = one.file.format if one else None
        values |= {
            f"d{slot}_width": (one.width if one else None) or 0,
            f"d{slot}_height": (one.height if one else None) or 0,
            f"d{slot}_format": _find_label(FILE_FORMATS, kind) if kind else NO_FORMAT,
            f"d{slot}_quality": (one.file.quality if one else None) or 0,
            f"d{slot}_crop": bool(one and one.crop),
        }
    return values


def _read_number(values: Values, name: str) -> float:
    figure = decode_json(float, values[name] or 0, name.replace("_", " "))
    if not math.isfinite(figure):
        raise InvalidRequest(f"The {name.replace('_', ' ')} is not a number.", hint="Type one.")
    return figure


def _read_count(values: Values, name: str) -> int | None:
    """A whole number; 0 and an empty field mean none."""
    return round(_read_number(values, name)) or None


def _to_percent(fraction: float) -> float:
    return round(fraction * 100, 4)


def _drop_none(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _find_label(known: dict[str, Any], value: Any) -> str:
    return next(name for name, held in known.items() if held == value)

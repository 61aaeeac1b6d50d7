"""The step Finish of Extras: from the form's values to a request and back. The form counts in per cent and kB, a
request in fractions and bytes."""

from __future__ import annotations

import math
import re
from typing import Any

from studio.core.codec import decode_json
from studio.core.errors import InvalidRequest
from studio.core.finish import Box, Derivative, Finish, MetadataPolicy, OutputOptions, TextOverlay, Watermark
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.tabs.common.form_values import Values, parse_request
from studio.tabs.common.image_fields import read_single_image

SLOTS = 6  # derivatives
SIDES = ("left", "top", "right", "bottom")
DEFAULT_FORMAT = "As in the settings"
FORMATS: dict[str, str | None] = {DEFAULT_FORMAT: None, "PNG": "png", "JPEG": "jpeg", "WebP": "webp", "AVIF": "avif"}
NO_FORMAT = "–"
METADATA_POLICIES = {
    "Everything": MetadataPolicy.ALL,
    "AI marker only": MetadataPolicy.MARKER,
    "Nothing": MetadataPolicy.NOTHING,
}
_COLOUR = re.compile(r"rgba?\((\d+(?:\.\d+)?), *(\d+(?:\.\d+)?), *(\d+(?:\.\d+)?)")
CONTRASTS = {"Warn if too low": "check", "Add a shade behind the text": "fix"}
_OLD_LABELS = {  # of version 0.1, which browsers and scripts may still send
    "AI marker only": "AI marker only",
    "Warn if too low": "Warn if too low",
    "Add a shade behind the text": "Add a shade behind the text",
}


def read_finish_step(values: Values) -> GenerationRequest:
    """The step, its file with it.

    Raises:
        InvalidRequest: a value of the wrong kind or out of range.
    """
    file = _read_file_options(values)
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
        **_write_file_options(step.file or OutputOptions()),
        **_write_text_overlay(finish.text[0] if finish.text else TextOverlay()),
        **_write_watermark(finish.watermark or Watermark()),
        **_write_derivatives(finish.derivatives),
    }


def _read_crop(values: Values) -> dict[str, float] | None:
    left, top, right, bottom = (_read_number(values, f"crop_{side}") / 100 for side in SIDES)
    if not any((left, top, right, bottom)):
        return None
    return {"left": left, "top": top, "right": round(1 - right, 6), "bottom": round(1 - bottom, 6)}


def _read_file_options(values: Values) -> dict[str, Any]:
    kilobytes = _read_number(values, "max_kb")
    keep = METADATA_POLICIES.get(_read_label(values["keep"]), MetadataPolicy.ALL)
    ground = _parse_colour(values["ground"])
    return _drop_none(
        {
            "format": FORMATS.get(str(values["format"])),
            "quality": _read_count(values, "file_quality"),
            "max_bytes": round(kilobytes * 1000) or None,
            "keep": None if keep is MetadataPolicy.ALL else keep,
            "ground": None if ground == OutputOptions().ground else ground,
        }
    )


def _read_text_overlay(values: Values) -> list[dict[str, Any]] | None:
    words = decode_json(str, values["text"] or "", "text")
    if not words.strip():
        return None
    return [
        {
            "text": words,
            "font": values["font"] or "",
            "size": _read_number(values, "text_size") / 100,
            "colour": _parse_colour(values["text_colour"]),
            "stroke": _read_number(values, "stroke") / 100,
            "stroke_colour": _parse_colour(values["stroke_colour"]),
            "anchor": values["text_anchor"],
            "margin": _read_number(values, "text_margin") / 100,
            "contrast": CONTRASTS.get(_read_label(values["contrast"]), "check"),
        }
    ]


def _read_watermark(values: Values) -> dict[str, Any] | None:
    words, hidden, image = (
        values["mark_text"] or "",
        values["hidden"] or "",
        read_single_image(values["mark_image"]),
    )
    if not (words or hidden or image):
        return None
    return _drop_none(
        {
            "image": image,
            "text": words,
            "opacity": values["opacity"],
            "size": _read_number(values, "mark_size") / 100,
            "anchor": values["mark_anchor"],
            "tiled": values["tiled"] is True,
            "hidden": hidden,
        }
    )


def _read_derivatives(values: Values, file: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows in use; what a row leaves open is as the one file would be."""
    found: list[dict[str, Any]] = []
    for slot in range(SLOTS):
        kind = values[f"d{slot}_format"]
        width, height = _read_count(values, f"d{slot}_width"), _read_count(values, f"d{slot}_height")
        if not width and not height and kind in (None, "", NO_FORMAT):
            continue
        own = _drop_none({"format": FORMATS.get(str(kind)), "quality": _read_count(values, f"d{slot}_quality")})
        row = {
            "width": width,
            "height": height,
            "crop": values[f"d{slot}_crop"] is True or None,
            "file": {**file, **own} or None,
        }
        found.append(_drop_none(row))
    return found or None


def _write_file_options(file: OutputOptions) -> dict[str, Any]:
    return {
        "format": _find_label(FORMATS, file.format),
        "file_quality": file.quality or 0,
        "max_kb": round((file.max_bytes or 0) / 1000, 3),
        "keep": _find_label(METADATA_POLICIES, file.keep),
        "ground": file.ground,
    }


def _read_label(value: object) -> str:
    return _OLD_LABELS.get(str(value), str(value))


def _write_text_overlay(text: TextOverlay) -> dict[str, Any]:
    return {
        "text": text.text,
        "font": text.font,
        "text_size": _to_percent(text.size),
        "text_colour": text.colour,
        "stroke": _to_percent(text.stroke),
        "stroke_colour": text.stroke_colour,
        "text_anchor": text.anchor.value,
        "text_margin": _to_percent(text.margin),
        "contrast": _find_label(CONTRASTS, text.contrast),
    }


def _write_watermark(mark: Watermark) -> dict[str, Any]:
    return {
        "mark_text": mark.text,
        "mark_image": mark.image or "",
        "opacity": mark.opacity,
        "mark_size": _to_percent(mark.size),
        "mark_anchor": mark.anchor.value,
        "tiled": mark.tiled,
        "hidden": mark.hidden,
    }


def _write_derivatives(derivatives: tuple[Derivative, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for slot in range(SLOTS):
        one = derivatives[slot] if slot < len(derivatives) else None
        kind = one.file.format if one else None
        values |= {
            f"d{slot}_width": (one.width if one else None) or 0,
            f"d{slot}_height": (one.height if one else None) or 0,
            f"d{slot}_format": _find_label(FORMATS, kind) if kind else NO_FORMAT,
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


def _parse_colour(value: Any) -> str:
    """ "#rrggbb" of what a colour picker gives, which may be rgb(…) or rgba(…)."""
    text = decode_json(str, value, "colour")
    found = _COLOUR.match(text)
    return "#" + "".join(f"{min(255, round(float(part))):02x}" for part in found.groups()) if found else text


def _to_percent(fraction: float) -> float:
    return round(fraction * 100, 4)


def _drop_none(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _find_label(known: dict[str, Any], value: Any) -> str:
    return next(name for name, held in known.items() if held == value)

"""From the Social Optimizer's fields to what is asked of its backend, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from studio.core.codec import decode_json
from studio.core.errors import InvalidRequest
from studio.core.field_spec import FieldSpec
from studio.core.field_tables.social import OWN_CROPS, SAME_CROP
from studio.core.finish import Box, MetadataPolicy, TextOverlay, Watermark
from studio.core.social import ExtendMode, SocialExport
from studio.tabs.common import image_fields
from studio.tabs.common.field_widgets import get_initial_value
from studio.tabs.common.form_values import parse_colour, read_fields, write_values
from studio.tabs.social.board_routes import format_box, parse_box
from studio.tabs.social.social_fields import ASK, LOGO_FIELDS, TEXT_FIELDS

_MAX_BOARD_CHARACTERS = 400_000  # of the board's value


@dataclass(frozen=True)
class Board:
    """The user's own crops and focus areas, by image (a content hash)."""

    crops: Mapping[str, Mapping[str, Box]]
    focus: Mapping[str, Box]


def read_sources(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The images that are worked on. Raises InvalidRequest when there is none."""
    found = image_fields.read_image_names(values.get("images"))
    if not found:
        raise InvalidRequest("No image selected.", hint="Drop an image, or send one from another tab.")
    return found


def parse_board(text: object) -> Board:
    """Parse the board's value; raises InvalidRequest for any other text."""
    try:
        data = json.loads(str(text or "{}")[:_MAX_BOARD_CHARACTERS])
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The crops on this page cannot be read.", hint="Press “Reset crops”.") from error
    board: dict[str, Any] = data if isinstance(data, dict) else {}
    crops = {
        name: {of: parse_box(box) for of, box in _ensure_dict(own).items()}
        for name, own in _ensure_dict(board.get("crops")).items()
    }
    return Board(crops=crops, focus={name: parse_box(box) for name, box in _ensure_dict(board.get("focus")).items()})


def read_social(values: Mapping[str, Any]) -> SocialExport:
    """Read the settings that all images share. Raises InvalidRequest, when no format is chosen for example."""
    extend = str(values.get("extend") or ASK)
    formats = tuple(dict.fromkeys(str(values.get("formats") or "").split()))
    return SocialExport(
        formats=formats,
        same=values.get("same") == SAME_CROP,
        colour=parse_colour(values.get("colour"), "#000000"),
        ground=parse_colour(values.get("ground"), "#ffffff"),
        extend=ExtendMode.CROP if extend == ASK else _parse_choice(ExtendMode, extend),
        text=_read_text(values),
        watermark=_read_logo(values),
        keep=_parse_choice(MetadataPolicy, values.get("keep") or MetadataPolicy.MARKER),
        file_type=str(values.get("type") or "") or None,
        zones=bool(values.get("zones")),
        sheet=bool(values.get("sheet")),
        original=bool(values.get("original")),
    )


def write_social(export: SocialExport, sources: tuple[str, ...]) -> dict[str, Any]:
    """The fields' values that ask for `export` of `sources`; the inverse of `social` and `board`."""
    crops: dict[str, dict[str, list[float]]] = {}
    for crop in export.crops:
        for source in [crop.image] if crop.image else sources:
            crops.setdefault(source, {})[crop.format] = format_box(crop.box)
    focus = {source: format_box(export.focus) for source in sources} if export.focus else {}
    values: dict[str, Any] = {
        "images": " ".join(sources),
        "formats": " ".join(export.formats),
        "board": json.dumps({"crops": crops, "focus": focus}),
        "same": SAME_CROP if export.same else OWN_CROPS,
        "extend": export.extend.value,
        "colour": export.colour,
        "ground": export.ground,
        "keep": export.keep.value,
        "type": export.file_type or "",
        "zones": export.zones,
        "sheet": export.sheet,
        "original": export.original,
        "text": "",
        "logo": "",
    }
    for text in export.text[:1]:
        values |= {**write_values(TEXT_FIELDS, text), "text_shade": text.contrast == "fix"}
    if (mark := export.watermark) is not None and mark.image:
        values |= {"logo": mark.image, **write_values(LOGO_FIELDS, mark)}
    return values


def _read_text(values: Mapping[str, Any]) -> tuple[TextOverlay, ...]:
    words = str(values.get("text") or "").strip()
    if not words:
        return ()
    contrast = "fix" if values.get("text_shade") else "check"
    data = {**_read_fields(TEXT_FIELDS, values), "text": words, "contrast": contrast}
    return (decode_json(TextOverlay, data, "text"),)


def _read_logo(values: Mapping[str, Any]) -> Watermark | None:
    image = image_fields.read_single_image(values.get("logo"))
    if image is None:
        return None
    return decode_json(Watermark, {**_read_fields(LOGO_FIELDS, values), "image": image}, "logo")


def _read_fields(fields: Sequence[FieldSpec], values: Mapping[str, Any]) -> dict[str, object]:
    """The values of `fields`; one that the form leaves empty has the value of a fresh form."""
    fresh = {spec.form_name: get_initial_value(spec, None) for spec in fields}
    return read_fields(fields, fresh | {name: value for name, value in values.items() if value is not None})


def _parse_choice(kind: Any, value: object) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidRequest(
            f"“{str(value)[:40]}” is not a valid choice.", hint="Choose an entry from the list."
        ) from error


def _ensure_dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

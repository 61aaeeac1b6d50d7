"""From the Social Optimizer's fields to what is asked of its backend, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from studio.core.errors import InvalidRequest
from studio.core.finish import Anchor, Box, MetadataPolicy, TextOverlay, Watermark
from studio.core.social import ExtendMode, SocialExport
from studio.tabs.common import image_fields
from studio.tabs.social.board_routes import format_box, parse_box
from studio.tabs.social.social_fields import ASK, OWN_CROPS, SAME_CROP

_MAX_BOARD_CHARACTERS = 400_000  # of the board's value
_RGB_FUNCTION = re.compile(r"rgba?\(([^)]*)\)")


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
        colour=parse_hex_colour(values.get("colour"), "#000000"),
        ground=parse_hex_colour(values.get("ground"), "#ffffff"),
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
        values |= {
            "text": text.text,
            "text_font": text.font,
            "text_anchor": text.anchor.value,
            "text_size": text.size * 100,
            "text_margin": text.margin * 100,
            "text_colour": text.colour,
            "text_rim": text.stroke_colour,
            "text_shade": text.contrast == "fix",
        }
    if (mark := export.watermark) is not None and mark.image:
        values |= {
            "logo": mark.image,
            "logo_anchor": mark.anchor.value,
            "logo_size": mark.size * 100,
            "logo_margin": mark.margin * 100,
            "logo_opacity": mark.opacity * 100,
        }
    return values


def parse_hex_colour(value: object, default: str) -> str:
    """A colour field's value as "#rrggbb": the field gives that, or "rgba(…)"."""
    text = str(value or default).strip()
    if (found := _RGB_FUNCTION.fullmatch(text)) is not None:
        try:
            parts = [min(255, max(0, round(float(part)))) for part in found[1].split(",")[:3]]
        except ValueError:
            return default
        return "#" + "".join(f"{part:02x}" for part in parts) if len(parts) == 3 else default
    return text[:7] if len(text) == 9 else text


def _read_text(values: Mapping[str, Any]) -> tuple[TextOverlay, ...]:
    words = str(values.get("text") or "").strip()
    if not words:
        return ()
    return (
        TextOverlay(
            text=words,
            font=str(values.get("text_font") or ""),
            size=_read_fraction(values, "text_size", 7),
            colour=parse_hex_colour(values.get("text_colour"), "#ffffff"),
            stroke_colour=parse_hex_colour(values.get("text_rim"), "#000000"),
            anchor=_parse_choice(Anchor, values.get("text_anchor") or Anchor.BOTTOM),
            margin=_read_fraction(values, "text_margin", 5),
            contrast="fix" if values.get("text_shade") else "check",
        ),
    )


def _read_logo(values: Mapping[str, Any]) -> Watermark | None:
    image = image_fields.read_single_image(values.get("logo"))
    if image is None:
        return None
    return Watermark(
        image=image,
        opacity=_read_fraction(values, "logo_opacity", 100),
        size=_read_fraction(values, "logo_size", 14),
        anchor=_parse_choice(Anchor, values.get("logo_anchor") or Anchor.TOP_LEFT),
        margin=_read_fraction(values, "logo_margin", 4),
    )


def _read_fraction(values: Mapping[str, Any], name: str, default: float) -> float:
    value = values.get(name)
    number = float(value) if isinstance(value, int | float) and math.isfinite(value) else default
    return round(number / 100, 4)


def _parse_choice(kind: Any, value: object) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidRequest(
            f"“{str(value)[:40]}” is not a valid choice.", hint="Choose an entry from the list."
        ) from error


def _ensure_dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

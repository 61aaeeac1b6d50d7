"""From the Social Optimizer's fields to what is asked of its backend, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from studio.core.errors import InvalidRequest
from studio.core.finish import Anchor, Box, Keep, TextOverlay, Watermark
from studio.core.social import Extend, Social
from studio.tabs.common import image_fields
from studio.tabs.social.board_routes import boxed, sides
from studio.tabs.social.social_fields import ASK, OWN, SAME

_MOST_BOARD = 400_000  # letters of the board's value
_FUNCTION = re.compile(r"rgba?\(([^)]*)\)")


@dataclass(frozen=True)
class Board:
    """What the user drew: own crops and marks, by picture (a content hash)."""

    crops: Mapping[str, Mapping[str, Box]]
    focus: Mapping[str, Box]


def pictures(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The pictures that are worked on. Raises InvalidRequest when there is none."""
    found = image_fields.names(values.get("pictures"))
    if not found:
        raise InvalidRequest("There is no picture.", hint="Drop one, or send one here from another tab.")
    return found


def board(text: object) -> Board:
    """What the board's value says; raises InvalidRequest for what is no value of a board."""
    try:
        data = json.loads(str(text or "{}")[:_MOST_BOARD])
    except ValueError as error:
        raise InvalidRequest("The crops on this page cannot be read.", hint="Press “Reset crops”.") from error
    told: dict[str, Any] = data if isinstance(data, dict) else {}
    crops = {
        name: {of: boxed(box) for of, box in _table(own).items()} for name, own in _table(told.get("crops")).items()
    }
    return Board(crops=crops, focus={name: boxed(box) for name, box in _table(told.get("focus")).items()})


def social(values: Mapping[str, Any]) -> Social:
    """What is the same for all pictures. Raises InvalidRequest, when no format is chosen for example."""
    extend = str(values.get("extend") or ASK)
    formats = tuple(dict.fromkeys(str(values.get("formats") or "").split()))
    return Social(
        formats=formats, same=values.get("same") == SAME, colour=hexed(values.get("colour"), "#000000"),
        extend=Extend.CROP if extend == ASK else _one_of(Extend, extend),
        text=_text(values), watermark=_logo(values), keep=_one_of(Keep, values.get("keep") or Keep.MARKER),
        file_type=str(values.get("type") or "") or None, zones=bool(values.get("zones")), sheet=bool(values.get("sheet")),
        original=bool(values.get("original")),
    )  # fmt: skip


def write(wish: Social, sources: tuple[str, ...]) -> dict[str, Any]:
    """The fields' values that ask for `wish` of `sources`; the inverse of `social` and `board`."""
    crops: dict[str, dict[str, list[float]]] = {}
    for crop in wish.crops:
        for source in [crop.picture] if crop.picture else sources:
            crops.setdefault(source, {})[crop.format] = sides(crop.box)
    focus = {source: sides(wish.focus) for source in sources} if wish.focus else {}
    values: dict[str, Any] = {
        "pictures": " ".join(sources), "formats": " ".join(wish.formats), "board": json.dumps({"crops": crops, "focus": focus}),
        "same": SAME if wish.same else OWN, "extend": wish.extend.value, "colour": wish.colour,
        "keep": wish.keep.value, "type": wish.file_type or "", "zones": wish.zones, "sheet": wish.sheet, "original": wish.original,
        "text": "", "logo": "",
    }  # fmt: skip
    for text in wish.text[:1]:
        values |= {
            "text": text.text, "text_font": text.font, "text_anchor": text.anchor.value, "text_size": text.size * 100,
            "text_margin": text.margin * 100, "text_colour": text.colour, "text_rim": text.stroke_colour,
            "text_shade": text.contrast == "fix",
        }  # fmt: skip
    if (mark := wish.watermark) is not None and mark.picture:
        values |= {
            "logo": mark.picture, "logo_anchor": mark.anchor.value, "logo_size": mark.size * 100,
            "logo_margin": mark.margin * 100, "logo_opacity": mark.opacity * 100,
        }  # fmt: skip
    return values


def hexed(value: object, default: str) -> str:
    """A colour field's value as "#rrggbb": the field gives that, or "rgba(…)"."""
    text = str(value or default).strip()
    if (found := _FUNCTION.fullmatch(text)) is not None:
        try:
            parts = [min(255, max(0, round(float(part)))) for part in found[1].split(",")[:3]]
        except ValueError:
            return default
        return "#" + "".join(f"{part:02x}" for part in parts) if len(parts) == 3 else default
    return text[:7] if len(text) == 9 else text


def _text(values: Mapping[str, Any]) -> tuple[TextOverlay, ...]:
    words = str(values.get("text") or "").strip()
    if not words:
        return ()
    return (
        TextOverlay(
            text=words, font=str(values.get("text_font") or ""), size=_share(values, "text_size", 7),
            colour=hexed(values.get("text_colour"), "#ffffff"), stroke_colour=hexed(values.get("text_rim"), "#000000"),
            anchor=_one_of(Anchor, values.get("text_anchor") or Anchor.BOTTOM), margin=_share(values, "text_margin", 5),
            contrast="fix" if values.get("text_shade") else "check",
        ),
    )  # fmt: skip


def _logo(values: Mapping[str, Any]) -> Watermark | None:
    picture = image_fields.one(values.get("logo"))
    if picture is None:
        return None
    return Watermark(
        picture=picture, opacity=_share(values, "logo_opacity", 100), size=_share(values, "logo_size", 14),
        anchor=_one_of(Anchor, values.get("logo_anchor") or Anchor.TOP_LEFT), margin=_share(values, "logo_margin", 4),
    )  # fmt: skip


def _share(values: Mapping[str, Any], name: str, default: float) -> float:
    value = values.get(name)
    number = float(value) if isinstance(value, int | float) and math.isfinite(value) else default
    return round(number / 100, 4)


def _one_of(kind: Any, value: object) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidRequest(f"“{str(value)[:40]}” is none of the choices.", hint="Choose one of the list.") from error


def _table(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

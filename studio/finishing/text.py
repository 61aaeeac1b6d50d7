"""Words over an image: wrapped, placed, and checked for contrast against what lies beneath them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from studio.core.errors import InvalidRequest
from studio.core.finish import Anchor, Box, TextOverlay
from studio.finishing import contrast
from studio.finishing.fonts import Fonts, find_missing_characters

MAX_TEXT_LENGTH = 2_000  # characters of one overlay
_MIN_FONT_SIZE = 8  # px
_CHECK_FONT_SIZE = 16  # px at which the font is searched for missing characters
_LINE_SPACING = 0.2  # of the font size, between lines
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_Area = tuple[float, float, float, float]


@dataclass(frozen=True)
class DrawnText:
    """`image` with the words on it; `contrast` where they are hardest to read; `box` (left, top, right, bottom) in px
    where they stand; `notes` for the user."""

    image: Image.Image
    contrast: float
    box: tuple[int, int, int, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _TextLayout:
    """Words as they will stand: in lines, in a font, `ink` being what they cover when drawn at (0, 0)."""

    lines: str
    font: Any
    align: str
    stroke: int
    ink: _Area

    @property
    def size(self) -> tuple[float, float]:
        return self.ink[2] - self.ink[0], self.ink[3] - self.ink[1]

    def options(self) -> dict[str, Any]:
        return {
            "font": self.font,
            "spacing": round(self.font.size * _LINE_SPACING),
            "align": self.align,
            "stroke_width": self.stroke,
        }


def draw_text(image: Image.Image, overlay: TextOverlay, fonts: Fonts, *, within: Box | None = None) -> DrawnText:
    """`overlay` over `image` (RGB or RGBA), inside `within` (the whole image when None). Letters that do not fit are
    made smaller, down to 8 px; what does not fit then is cut off, and `notes` say so.

    Raises:
        InvalidRequest: no text, no such font or colour.
    """
    check_overlay(overlay)
    area = _compute_area(image, overlay, within)
    words, notes = _fit_text(image, overlay, fonts, area)
    x, y = _place_text(area, words.size, overlay.anchor)
    box = (round(x), round(y), round(x + words.size[0]), round(y + words.size[1]))
    seen = (max(0, box[0] - 2), max(0, box[1] - 2), min(image.width, box[2] + 2), min(image.height, box[3] + 2))
    if seen[0] >= seen[2] or seen[1] >= seen[3]:
        return DrawnText(image, 1.0, box, (*notes, f"“{overlay.text[:40]}” lies outside the image."))
    place = (x - words.ink[0] - seen[0], y - words.ink[1] - seen[1])
    text_mask = Image.new("L", (seen[2] - seen[0], seen[3] - seen[1]))
    ImageDraw.Draw(text_mask).multiline_text(place, words.lines, 255, **words.options())
    stroke_colour = overlay.stroke_colour if words.stroke else None
    found = contrast.measure_least_contrast(image.crop(seen), text_mask, overlay.colour, stroke_colour)
    out = image.copy()
    if found < contrast.MIN_CONTRAST and overlay.contrast == "fix":
        found = contrast.add_shade(out, seen, text_mask, overlay.colour, round(words.font.size * 0.35))
    elif found < contrast.MIN_CONTRAST:
        notes.append(
            f"“{overlay.text[:40]}” is hard to read there: its contrast is {found:.1f}, {contrast.MIN_CONTRAST:g} is"
            " wanted."
        )
    _write_text(out, seen, place, words, overlay)
    return DrawnText(out, found, box, tuple(notes))


def check_overlay(overlay: TextOverlay) -> None:
    """Raises InvalidRequest for an overlay that cannot be drawn."""
    if not overlay.text.strip():
        raise InvalidRequest("The text overlay has no text.", hint="Enter a text, or remove the overlay.")
    if len(overlay.text) > MAX_TEXT_LENGTH:
        raise InvalidRequest(f"The text overlay is longer than {MAX_TEXT_LENGTH} characters.", hint="Shorten it.")
    for colour in (overlay.colour, overlay.stroke_colour):
        if not _COLOUR.fullmatch(colour):
            raise InvalidRequest(f"“{colour[:30]}” is not a colour.", hint="Write it as #rrggbb, for example #ff8800.")


def _compute_area(image: Image.Image, overlay: TextOverlay, within: Box | None) -> _Area:
    box = within or Box()
    left, right = box.left * image.width, box.right * image.width
    top, bottom = box.top * image.height, box.bottom * image.height
    margin = overlay.margin * min(right - left, bottom - top)
    return left + margin, top + margin, right - margin, bottom - margin


def _fit_text(image: Image.Image, overlay: TextOverlay, fonts: Fonts, area: _Area) -> tuple[_TextLayout, list[str]]:
    """The words at the largest size up to the requested one that fits into `area`, and notices about them."""
    room = (area[2] - area[0], area[3] - area[1])
    size = max(_MIN_FONT_SIZE, round(overlay.size * image.height))
    while True:
        words = _lay_out_text(overlay, fonts, size, room[0])
        if (words.size[0] <= room[0] and words.size[1] <= room[1]) or size <= _MIN_FONT_SIZE:
            break
        size = max(_MIN_FONT_SIZE, round(size * 0.9))
    missing = find_missing_characters(fonts.get(overlay.font, _CHECK_FONT_SIZE), overlay.text)
    notes = [f"The font lacks the characters “{missing}”."] if missing else []
    if words.size[0] > room[0] or words.size[1] > room[1]:
        notes.append(f"“{overlay.text[:40]}…” is too long and was cut off.")
        lines = words.lines.split("\n")
        kept = max(1, int(len(lines) * room[1] / words.size[1]))
        if kept < len(lines):
            words = _measure_text("\n".join([*lines[: kept - 1], lines[kept - 1] + "…"]), overlay, words.font)
    return words, notes


def _lay_out_text(overlay: TextOverlay, fonts: Fonts, size: int, width: float) -> _TextLayout:
    font = fonts.get(overlay.font, size)
    return _measure_text(_wrap_text(overlay.text, font, width - 2 * round(overlay.stroke * size)), overlay, font)


def _measure_text(lines: str, overlay: TextOverlay, font: Any) -> _TextLayout:
    align = "left" if "left" in overlay.anchor else "right" if "right" in overlay.anchor else "center"
    words = _TextLayout(lines, font, align, round(overlay.stroke * font.size), (0, 0, 0, 0))
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    return _TextLayout(lines, font, align, words.stroke, pen.multiline_textbbox((0, 0), lines, **words.options()))


def _wrap_text(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """`text` in lines of at most `width` px; a word that is longer than a line is broken where it must be."""
    lines: list[str] = []
    for paragraph in text.strip().splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if font.getlength(longer) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            *full, line = _break_word(word, font, width)
            lines.extend(full)
        lines.append(line)
    return "\n".join(lines)


def _break_word(word: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    """`word` in pieces of at most `width` px, each of a letter at least."""
    pieces = [""]
    for character in word:
        if pieces[-1] and font.getlength(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


def _place_text(area: _Area, size: tuple[float, float], anchor: Anchor) -> tuple[float, float]:
    left, top, right, bottom = area
    across = left if "left" in anchor else right - size[0] if "right" in anchor else (left + right - size[0]) / 2
    down = top if "top" in anchor else bottom - size[1] if "bottom" in anchor else (top + bottom - size[1]) / 2
    return across, down


def _write_text(
    out: Image.Image,
    seen: tuple[int, int, int, int],
    place: tuple[float, float],
    words: _TextLayout,
    overlay: TextOverlay,
) -> None:
    """Write the words into the part `seen` of `out`. Over transparency they are composed, so that no letter has a dark
    rim."""
    options = {**words.options(), "fill": overlay.colour, "stroke_fill": overlay.stroke_colour}
    part = out.crop(seen)
    if out.mode == "RGBA":
        rim = overlay.stroke_colour if words.stroke else overlay.colour
        layer = Image.new("RGBA", part.size, (*contrast.parse_colour(rim), 0))
        ImageDraw.Draw(layer).multiline_text(place, words.lines, **options)
        part = Image.alpha_composite(part, layer)
    else:
        ImageDraw.Draw(part).multiline_text(place, words.lines, **options)
    out.paste(part, seen[:2])

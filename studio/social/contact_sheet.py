"""Draw the zones of formats over a proof, and the contact sheet of all of them."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont

from studio.core.annotate import flatten_on_white
from studio.core.social_formats import Format
from studio.core.social_view import SHADE_OPACITY, SHADED_KINDS, ZONE_COLOURS
from studio.social.format_entries import list_zones

CELL, GUTTER, CAPTION = 320, 24, 44  # px of the contact sheet
MAX_COLUMNS = 6


def draw_zones(image: Image.Image, of: Format) -> Image.Image:
    """A copy of `image` (of the format's size) with its zones drawn in: for a proof, never for the file that goes
    out."""
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    font = ImageFont.load_default(max(10, min(of.width, of.height) // 40))
    line = max(2, min(of.width, of.height) // 270)
    for zone in list_zones(of):
        colour = ZONE_COLOURS[zone.kind]
        corners = (zone.left, zone.top, zone.left + zone.width - 1, zone.top + zone.height - 1)
        shade = (*colour, round(255 * SHADE_OPACITY)) if zone.kind in SHADED_KINDS else None
        if zone.kind == "circle":
            draw.ellipse(corners, outline=(*colour, 255), width=line)
        else:
            draw.rectangle(corners, fill=shade, outline=(*colour, 255), width=line)
        draw.text(
            (zone.left + 2 * line, zone.top + 2 * line),
            zone.label,
            (*colour, 255),
            font,
            stroke_width=1,
            stroke_fill="white",
        )
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


class ContactSheet:
    """A contact sheet that grows: small copies of the formats with their names and sizes."""

    def __init__(self) -> None:
        self._small: list[tuple[Image.Image, str, str]] = []

    def add(self, image: Image.Image, title: str, below: str) -> None:
        small = flatten_on_white(image)
        scale = min(CELL / small.width, CELL / small.height)
        size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
        self._small.append((small.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0), title, below))

    def draw_sheet(self) -> Image.Image:
        columns = min(MAX_COLUMNS, max(1, math.ceil(math.sqrt(len(self._small)))))
        rows = math.ceil(len(self._small) / columns)
        width, height = CELL + GUTTER, CELL + CAPTION + GUTTER
        sheet = Image.new("RGB", (columns * width + GUTTER, rows * height + GUTTER), (246, 246, 246))
        draw = ImageDraw.Draw(sheet)
        for number, (small, title, below) in enumerate(self._small):
            left, top = GUTTER + number % columns * width, GUTTER + number // columns * height
            sheet.paste(small, (left + (CELL - small.width) // 2, top + (CELL - small.height)))
            for line, (text, size) in enumerate(((title, 16), (below, 13))):
                font = ImageFont.load_default(size)
                draw.text((left, top + CELL + 4 + 20 * line), _shorten_text(text, font), (40, 40, 40), font)
        return sheet


def _shorten_text(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """`text`, cut where it would reach into the next cell."""
    if font.getlength(text) <= CELL:
        return text
    while text and font.getlength(text + "…") > CELL:
        text = text[:-1]
    return text + "…"

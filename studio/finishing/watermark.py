"""A mark over an image: an image or words, at a corner or tiled; and one that is not seen (see
studio.finishing.hidden_text)."""

from __future__ import annotations

from PIL import Image, ImageDraw

from studio.core.errors import InvalidRequest
from studio.core.finish import Anchor, Watermark
from studio.finishing.fonts import Fonts
from studio.finishing.hidden_text import hide_text

MAX_MARK_LENGTH = 200  # characters of a mark
_TILE_GAP = 0.6  # of a mark's size, between tiles
_TEXT_SIZE, _OUTLINE_WIDTH = 96, 8  # px in which words are drawn, and of their rim, before they are brought to size


def draw_watermark(image: Image.Image, watermark: Watermark, source: Image.Image | None, fonts: Fonts) -> Image.Image:
    """`image` (RGB or RGBA) with the mark that `watermark` describes; `source` is its logo, if it names one, and
    takes precedence over the text.

    Raises:
        InvalidRequest: it is empty, or the image cannot hold the hidden text.
    """
    text = watermark.text.strip()
    if source is None and not text and not watermark.hidden:
        raise InvalidRequest("The watermark is empty.", hint="Choose an image or enter a text.")
    if len(text) > MAX_MARK_LENGTH:
        raise InvalidRequest(f"The watermark is longer than {MAX_MARK_LENGTH} characters.", hint="Shorten it.")
    out = image
    if source is not None or text:
        stamp = source.convert("RGBA") if source is not None else _draw_text_mark(text, fonts)
        stamp = _fade_mark(_scale_mark(stamp, image, watermark), watermark.opacity)
        out = _paste_marks(
            image,
            stamp,
            _list_tile_places(image, stamp) if watermark.tiled else [_find_corner(image, stamp, watermark)],
        )
    return hide_text(out, watermark.hidden) if watermark.hidden else out


def _scale_mark(stamp: Image.Image, image: Image.Image, watermark: Watermark) -> Image.Image:
    """The mark, `size` of the image's shorter side wide; one so tall that it would not fit is made as tall as fits."""
    width = watermark.size * min(image.size)
    tallest = max(1.0, image.height - 2 * watermark.margin * min(image.size))
    scale = min(width / stamp.width, tallest / stamp.height)
    size = max(1, round(stamp.width * scale)), max(1, round(stamp.height * scale))
    return stamp.resize(size, Image.Resampling.LANCZOS)


def _draw_text_mark(text: str, fonts: Fonts) -> Image.Image:
    """The text in white with a dark rim, which is seen on any ground."""
    font = fonts.get("", _TEXT_SIZE)
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = pen.multiline_textbbox((0, 0), text, font, stroke_width=_OUTLINE_WIDTH)
    stamp = Image.new("RGBA", (max(1, round(right - left)), max(1, round(bottom - top))))
    ImageDraw.Draw(stamp).multiline_text(
        (-left, -top), text, "white", font, stroke_width=_OUTLINE_WIDTH, stroke_fill="black"
    )
    return stamp


def _fade_mark(stamp: Image.Image, opacity: float) -> Image.Image:
    stamp.putalpha(stamp.getchannel("A").point([round(value * opacity) for value in range(256)]))
    return stamp


def _paste_marks(image: Image.Image, stamp: Image.Image, places: list[tuple[int, int]]) -> Image.Image:
    """`image` with the stamp at each of `places`, only those parts being touched."""
    out = image.copy()
    for x, y in places:
        part = (max(0, x), max(0, y), min(image.width, x + stamp.width), min(image.height, y + stamp.height))
        if part[0] >= part[2] or part[1] >= part[3]:
            continue
        seen = stamp.crop((part[0] - x, part[1] - y, part[2] - x, part[3] - y))
        laid = Image.alpha_composite(out.crop(part).convert("RGBA"), seen)
        out.paste(laid.convert(out.mode), part[:2])
    return out


def _list_tile_places(image: Image.Image, stamp: Image.Image) -> list[tuple[int, int]]:
    gap = round(max(stamp.size) * _TILE_GAP)
    across, down = stamp.width + gap, stamp.height + gap
    return [
        (x, y)
        for row, y in enumerate(range(0, image.height, down))
        for x in range(-(row % 2) * across // 2, image.width, across)
    ]


def _find_corner(image: Image.Image, stamp: Image.Image, watermark: Watermark) -> tuple[int, int]:
    margin = round(watermark.margin * min(image.size))
    anchor: Anchor = watermark.anchor
    room = (image.width - stamp.width, image.height - stamp.height)
    across = margin if "left" in anchor else room[0] - margin if "right" in anchor else room[0] // 2
    down = margin if "top" in anchor else room[1] - margin if "bottom" in anchor else room[1] // 2
    return across, down

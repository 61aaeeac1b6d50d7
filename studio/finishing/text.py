"""Words over a picture: wrapped, placed, and checked for contrast against what lies beneath them.

Contrast is the ratio of the Web Content Accessibility Guidelines 2.2, 1 to 21; 4.5 is what they ask for ordinary text, 3 for large.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from studio.core.errors import InvalidRequest
from studio.core.finish import Anchor, Box, TextOverlay
from studio.finishing.fonts import Fonts

if TYPE_CHECKING:
    import numpy as np

ENOUGH = 4.5  # contrast that can be read
LARGE, ENOUGH_LARGE = 0.05, 3.0  # letters of this share of the height need less
_SHADE = 0.55  # opacity of the shade that "fix" lays beneath
_LEAST = 8  # px of letters
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


@dataclass(frozen=True)
class Drawn:
    """`image` with the words on it; `contrast` where they are hardest to read; `box` (left, top, right, bottom) in px where they
    stand; `notes` for the user."""

    image: Image.Image
    contrast: float
    box: tuple[int, int, int, int]
    notes: tuple[str, ...] = ()


def draw(image: Image.Image, overlay: TextOverlay, fonts: Fonts, *, within: Box | None = None) -> Drawn:
    """`overlay` over `image` (RGB or RGBA), inside `within` (the whole picture when None). Letters that do not fit are made
    smaller.

    Raises:
        InvalidRequest: no text, no such font or colour.
    """
    check(overlay)
    area = _area(image, overlay, within)
    font, lines = _fitted(image, overlay, fonts, area)
    stroke = round(overlay.stroke * font.size)
    layer = Image.new("L", image.size)
    spacing = round(font.size * 0.2)
    pen = ImageDraw.Draw(layer)
    left, top, right, bottom = pen.multiline_textbbox((0, 0), lines, font=font, spacing=spacing, stroke_width=stroke)
    x, y = _place(area, (right - left, bottom - top), overlay.anchor)
    place = (x - left, y - top)
    align = "left" if "left" in overlay.anchor else "right" if "right" in overlay.anchor else "center"
    pen.multiline_text(place, lines, 255, font, spacing=spacing, align=align, stroke_width=stroke)
    box = (round(x), round(y), round(x + right - left), round(y + bottom - top))
    found = _contrast(image, layer, box, overlay)
    enough = ENOUGH_LARGE if font.size >= LARGE * image.height else ENOUGH
    ground, notes = image, ()
    if found < enough:
        if overlay.contrast == "fix":
            ground = _shaded(image, box, overlay.colour, round(font.size * 0.35))
            found = _contrast(ground, layer, box, overlay)
        else:
            notes = (
                f"“{overlay.text[:40]}” is hard to read there: its contrast is {found:.1f}, {enough:g} is wanted.",
            )
    out = ground.copy()
    pen = ImageDraw.Draw(out)
    pen.multiline_text(
        place, lines, overlay.colour, font, spacing=spacing, align=align, stroke_width=stroke, stroke_fill=overlay.stroke_colour
    )  # fmt: skip
    return Drawn(out, found, box, notes)


def check(overlay: TextOverlay) -> None:
    """Raises InvalidRequest for an overlay that cannot be drawn."""
    if not overlay.text.strip():
        raise InvalidRequest("The text overlay has no text.", hint="Write something, or remove the overlay.")
    for colour in (overlay.colour, overlay.stroke_colour):
        if not _COLOUR.fullmatch(colour):
            raise InvalidRequest(f"“{colour[:30]}” is not a colour.", hint="Write it as #rrggbb, for example #ff8800.")


def ratio(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """The contrast of two colours (sRGB, 0 to 255), 1 to 21."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: tuple[float, float, float]) -> float:
    parts = [value / 255 for value in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _area(image: Image.Image, overlay: TextOverlay, within: Box | None) -> tuple[float, float, float, float]:
    box = within or Box()
    left, top, right, bottom = (
        box.left * image.width,
        box.top * image.height,
        box.right * image.width,
        box.bottom * image.height,
    )
    margin = overlay.margin * min(right - left, bottom - top)
    return left + margin, top + margin, right - margin, bottom - margin


def _fitted(
    image: Image.Image, overlay: TextOverlay, fonts: Fonts, area: tuple[float, float, float, float]
) -> tuple[Any, str]:
    """(the font, the words in lines) of the largest size up to the wished one that fits into `area`."""
    size = max(_LEAST, round(overlay.size * image.height))
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    while True:
        font = fonts.get(overlay.font, size)
        stroke = round(overlay.stroke * size)
        lines = _wrapped(overlay.text, font, area[2] - area[0] - 2 * stroke)
        box = pen.multiline_textbbox((0, 0), lines, font=font, spacing=round(size * 0.2), stroke_width=stroke)
        fits = box[2] - box[0] <= area[2] - area[0] and box[3] - box[1] <= area[3] - area[1]
        if fits or size <= _LEAST:
            return font, lines
        size = max(_LEAST, round(size * 0.9))


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    lines: list[str] = []
    for paragraph in text.strip().splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return "\n".join(lines)


def _place(area: tuple[float, float, float, float], size: tuple[float, float], anchor: Anchor) -> tuple[float, float]:
    left, top, right, bottom = area
    across = left if "left" in anchor else right - size[0] if "right" in anchor else (left + right - size[0]) / 2
    down = top if "top" in anchor else bottom - size[1] if "bottom" in anchor else (top + bottom - size[1]) / 2
    return across, down


def _contrast(image: Image.Image, letters: Image.Image, box: tuple[int, int, int, int], overlay: TextOverlay) -> float:
    """The contrast where the words are hardest to read (the worst tenth). With a stroke, letters stand against that."""
    import numpy as np

    clip = (max(0, box[0]), max(0, box[1]), min(image.width, box[2]), min(image.height, box[3]))
    if clip[0] >= clip[2] or clip[1] >= clip[3]:
        return 1.0
    around = letters.crop(clip).filter(ImageFilter.MaxFilter(5))
    there = np.asarray(around) > 0
    if not there.any():
        return 1.0
    beneath = np.asarray(image.convert("RGB").crop(clip), np.float32)[there]
    text = _luminance(_rgb(overlay.colour))
    against = _array_luminance(beneath)
    found = (np.maximum(text, against) + 0.05) / (np.minimum(text, against) + 0.05)
    worst = float(np.percentile(found, 10))
    return max(worst, ratio(_rgb(overlay.colour), _rgb(overlay.stroke_colour))) if overlay.stroke > 0 else worst


def _array_luminance(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    parts = pixels / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ np.asarray((0.2126, 0.7152, 0.0722), np.float32)


def _shaded(image: Image.Image, box: tuple[int, int, int, int], colour: str, margin: int) -> Image.Image:
    """`image` with a soft shade beneath the words, dark under light letters and light under dark ones."""
    dark = _luminance(_rgb(colour)) > 0.18
    mask = Image.new("L", image.size)
    corners = (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin)
    ImageDraw.Draw(mask).rounded_rectangle(corners, margin, round(255 * (_SHADE if dark else _SHADE + 0.2)))
    shade = Image.new(image.mode, image.size, (0, 0, 0) if dark else (255, 255, 255))
    if image.mode == "RGBA":
        shade.putalpha(255)
    return Image.composite(shade, image, mask.filter(ImageFilter.GaussianBlur(margin / 3)))


def _rgb(colour: str) -> tuple[float, float, float]:
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)

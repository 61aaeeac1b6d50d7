"""Measure whether text is readable on its background, and add a shade where it is not.

Contrast is the ratio of the Web Content Accessibility Guidelines 2.2, 1 to 21
(https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio); 4.5 is what they ask of text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    import numpy as np

MIN_CONTRAST = 4.5
_WORST_PERCENT = 10  # per cent of the px beneath the text: those with the least contrast decide
_EDGE_WINDOW = 5  # px wide is the window that makes what lies right beside a letter count too
_OPACITIES = (0.55, 0.7, 0.85, 1.0)  # of the shade, the faintest that is enough being taken
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


def compute_contrast_ratio(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """The contrast of two colours (sRGB, 0 to 255), 1 to 21."""
    high, low = sorted((_compute_luminance(one), _compute_luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def measure_least_contrast(
    ground: Image.Image, text_mask: Image.Image, colour: str, stroke_colour: str | None
) -> float:
    """The contrast where `text_mask` (mode L, as large as `ground`) are hardest to read. With a stroke they may be read
    against that as well. What can be seen through counts as white and as black, whichever is worse."""
    import numpy as np

    there = np.asarray(text_mask.filter(ImageFilter.MaxFilter(_EDGE_WINDOW))) > 0
    if not there.any():
        return 1.0
    text = _compute_luminance(parse_colour(colour))
    found = min(_measure_worst(text, np.asarray(beneath, np.float32)[there]) for beneath in _make_opaque(ground))
    return (
        found
        if stroke_colour is None
        else max(found, compute_contrast_ratio(parse_colour(colour), parse_colour(stroke_colour)))
    )


def add_shade(
    image: Image.Image, box: tuple[int, int, int, int], text_mask: Image.Image, colour: str, margin: int
) -> float:
    """Lay a soft shade into `image` beneath the `text_mask` in `box`, as faint as is enough: black under light ones,
    white under dark ones. Returns the contrast that is reached."""
    around = (
        max(0, box[0] - 2 * margin),
        max(0, box[1] - 2 * margin),
        min(image.width, box[2] + 2 * margin),
        min(image.height, box[3] + 2 * margin),
    )
    place = (box[0] - around[0], box[1] - around[1])
    ground = image.crop(around)
    inner = (
        place[0] - margin,
        place[1] - margin,
        place[0] + text_mask.width + margin,
        place[1] + text_mask.height + margin,
    )
    shape = Image.new("L", ground.size)
    ImageDraw.Draw(shape).rounded_rectangle(inner, margin, 255)
    shape = shape.filter(ImageFilter.GaussianBlur(margin / 3))
    tone = max((_BLACK, _WHITE), key=lambda one: compute_contrast_ratio(one, parse_colour(colour)))
    cover = Image.new(image.mode, ground.size, (*tone, 255)[: len(image.mode)])
    found, shaded = 0.0, ground
    for opacity in _OPACITIES:
        mask = shape.point([round(value * opacity) for value in range(256)])
        shaded = Image.composite(cover, ground, mask)
        beneath = shaded.crop((*place, place[0] + text_mask.width, place[1] + text_mask.height))
        found = measure_least_contrast(beneath, text_mask, colour, None)
        if found >= MIN_CONTRAST:
            break
    image.paste(shaded, around[:2])
    return found


def parse_colour(colour: str) -> tuple[int, int, int]:
    """The colour "#rrggbb" or "#rgb" as 0 to 255."""
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _make_opaque(ground: Image.Image) -> list[Image.Image]:
    if ground.mode != "RGBA" or ground.getchannel("A").getextrema()[0] == 255:
        return [ground.convert("RGB")]
    return [
        Image.alpha_composite(Image.new("RGBA", ground.size, tone), ground).convert("RGB")
        for tone in ("white", "black")
    ]


def _measure_worst(text: float, beneath: np.ndarray[Any, Any]) -> float:
    import numpy as np

    against = _compute_luminances(beneath)
    return float(np.percentile((np.maximum(text, against) + 0.05) / (np.minimum(text, against) + 0.05), _WORST_PERCENT))


def _compute_luminance(colour: tuple[float, float, float]) -> float:
    parts = [value / 255 for value in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _compute_luminances(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    parts = pixels / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ np.asarray((0.2126, 0.7152, 0.0722), np.float32)

"""Masks: what the user painted, what of it the model sees, and how the drawn part comes back into the image.

In a mask white is what changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter

from studio.core.annotate import read_mask
from studio.core.request_parts import Inpaint, MaskedContent
from studio.pipelines.run.source_images import Part, ensure_rgb, flatten_alpha

CELL = 8  # px of a latent pixel in every family that inpaints
_HALF = 128
_FILL_SIDE = 256  # px; surroundings are grown into the mask at this size, they are blurred anyway
_FILL_RADIUS = 5

_TINT = "#d4483b"

_DEFAULT_INPAINT = Inpaint()

Box = tuple[int, int, int, int]
Blend = Callable[[Image.Image, Image.Image], Image.Image]
"""(what was there, what was drawn) -> what comes into the image; RGB, of one size."""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """One image made ready for the pipeline: `image` (RGB) and `mask` (L) at the size that is drawn at. `finish` makes
    the result of what was drawn there. `region` is set where only a part of the image is drawn, `shown` where a part of
    the source, or more than it, became the image."""

    image: Image.Image
    finish: Callable[[Image.Image], Image.Image]
    mask: Image.Image | None = None
    region: Part | None = None
    shown: Part | None = None


def prepare_mask(mask: Image.Image, inpaint: Inpaint) -> Image.Image:
    """The mask, L, inverted and blurred as asked: the opacity of the change, pixel by pixel."""
    grey = read_mask(mask)
    if inpaint.invert:
        grey = ImageChops.invert(grey)
    return grey.filter(ImageFilter.GaussianBlur(inpaint.mask_blur)) if inpaint.mask_blur else grey


def tint_mask(image: Image.Image, mask: Image.Image) -> Image.Image:
    """`image` (RGB) tinted where `mask` is white, for the eye."""
    tinted = Image.blend(flatten_alpha(image), Image.new("RGB", image.size, _TINT), 0.6)
    return Image.composite(tinted, flatten_alpha(image), mask)


def find_region(mask: Image.Image, padding: int, aspect: float) -> Box:
    """The part of the image that is drawn for `mask` alone: its bounding box and `padding` px around it, widened
    towards `aspect` (width over height) as far as the image goes."""
    left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
    left, right = max(0, left - padding), min(mask.width, right + padding)
    top, bottom = max(0, top - padding), min(mask.height, bottom + padding)
    wide = max(right - left, min(mask.width, round((bottom - top) * aspect)))
    high = max(bottom - top, min(mask.height, round(wide / aspect)))
    (left, right), (top, bottom) = (
        _widen_range(left, right, wide, mask.width),
        _widen_range(top, bottom, high, mask.height),
    )
    return left, top, right, bottom


def _widen_range(low: int, high: int, wanted: int, limit: int) -> tuple[int, int]:
    """`wanted` px around low to high that lie within 0 to `limit`."""
    start = min(max(0, (low + high - wanted) // 2), limit - wanted)
    return start, start + wanted


def snap_to_cells(mask: Image.Image, *, soft: bool = False) -> Image.Image:
    """`mask` (sides are multiples of CELL) as a model sees it, latent pixel by latent pixel: all of one that is half
    covered anywhere, so that no thin stroke is lost; with `soft` how far each is covered."""
    size = mask.width // CELL, mask.height // CELL
    if soft:
        return mask.resize(size, Image.Resampling.BOX).resize(mask.size, Image.Resampling.NEAREST)
    import numpy as np

    hard = np.asarray(mask).reshape(size[1], CELL, size[0], CELL).max(axis=(1, 3)) >= _HALF
    if not hard.any():  # a thin stroke, faint after its blur
        hard = np.asarray(mask).reshape(size[1], CELL, size[0], CELL).max(axis=(1, 3)) > 0
    return Image.fromarray((hard * 255).astype("uint8")).resize(mask.size, Image.Resampling.NEAREST)


def fill_from_surroundings(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The RGB `image` with the masked part replaced by the colours around it (Telea's method, by OpenCV)."""
    import cv2
    import numpy as np

    scale = min(1.0, _FILL_SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = np.asarray(image.resize(size, Image.Resampling.BOX))
    hidden = np.asarray(mask.resize(size, Image.Resampling.BOX)) > 0
    if hidden.all():
        return image
    grown_in = cv2.inpaint(small, hidden.astype("uint8"), _FILL_RADIUS, cv2.INPAINT_TELEA)
    around = Image.fromarray(grown_in).filter(ImageFilter.GaussianBlur(2)).resize(image.size, Image.Resampling.BICUBIC)
    return Image.composite(around, image, mask)


def build_canvas(
    source: Image.Image,
    mask: Image.Image,
    size: tuple[int, int],
    *,
    box: Box | None = None,
    inpaint: Inpaint = _DEFAULT_INPAINT,
    blend: Blend | None = None,
) -> Canvas:
    """`source`, or `box` of it, to be drawn at `size` where `mask` (L, the source's size, blurred already) is not
    black.

    The result has the source's size and mode; where the mask is 0 its pixels are the source's own, transparency
    included, and what is drawn is opaque.
    """
    base = ensure_rgb(source)
    place = box or (0, 0, *base.size)
    was = flatten_alpha(base).crop(place)
    image = was.resize(size, Image.Resampling.LANCZOS) if was.size != size else was
    part = mask.crop(place)
    seen = part.resize(size, Image.Resampling.BILINEAR) if part.size != size else part
    if inpaint.fill is MaskedContent.FILL:
        image = fill_from_surroundings(image, seen)

    def paste_back(drawn: Image.Image) -> Image.Image:
        new = drawn.resize(was.size, Image.Resampling.LANCZOS) if drawn.size != was.size else drawn
        new = blend(was, new) if blend else new
        whole = base.copy()
        whole.paste(new.convert(base.mode), place[:2])
        return Image.composite(whole, base, mask)

    wide, high = base.size
    fractions = (place[0] / wide, place[1] / high, place[2] / wide, place[3] / high) if box else None
    return Canvas(image=image, mask=snap_to_cells(seen, soft=inpaint.soft), finish=paste_back, region=fractions)

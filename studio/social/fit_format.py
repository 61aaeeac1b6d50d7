"""An image brought to a format: cropped and resized in one step, or whole with something around it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageEnhance, ImageFilter

from studio.core.finish import Box
from studio.core.ground import flatten_on_ground
from studio.core.social import ExtendMode
from studio.core.social_formats import Format

# of Pillow's two-step reduction: indistinguishable from one step, and several times faster from 12 megapixels
REDUCING_GAP = 3.0
BLUR_SHARE = 0.04  # of the width
DIM_FACTOR = 0.87  # how bright the blurred border stays
BLUR_SIDE = 240  # px at which the border is blurred: nothing finer is left of it
TIGHT_BYTES_PER_PIXEL = 0.6  # bytes per pixel: below this a detailed image may not fit, whatever the quality
MIN_JPEG_QUALITY = 40  # of JPEG; what the encoder goes down to
LIMIT_SHARE = 0.95  # of the limit: the file carries more than pixels
SOFTEN_FACTOR = 0.85  # of the detail that is left by each step


def crop_to_size(image: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """The content of `box`, resized (Lanczos) to exactly `size`. RGB or RGBA as the image is."""
    width, height = image.size
    corners = (box.left * width, box.top * height, box.right * width, box.bottom * height)
    return _ensure_rgb(image).resize(size, Image.Resampling.LANCZOS, box=corners, reducing_gap=REDUCING_GAP)


def reshape_box(box: Box, ratio: float, width: int, height: int) -> Box:
    """The user's `box` in an image of `width` × `height` px with the shape `ratio`: it grows where it may, and where
    the image ends it gets smaller, around its own middle."""
    wide, high = (box.right - box.left) * width, (box.bottom - box.top) * height
    if abs(wide / high / ratio - 1) < 0.005:
        return box
    wide, high = max(wide, high * ratio), max(high, wide / ratio)
    scale = min(1.0, width / wide, height / high)
    wide, high = wide * scale / width, high * scale / height
    left = min(max((box.left + box.right - wide) / 2, 0.0), 1 - wide)
    top = min(max((box.top + box.bottom - high) / 2, 0.0), 1 - high)
    return Box(left=left, top=top, right=min(1.0, left + wide), bottom=min(1.0, top + high))


def extend_image(image: Image.Image, of: Format, how: ExtendMode, colour: str) -> Image.Image:
    """The whole image inside the format (RGB), where the safe area's middle is so far as there is room; `how` fills the
    rest, with `colour` ("#rrggbb") or what the image gives."""
    whole = _ensure_rgb(image)
    scale = min(of.width / whole.width, of.height / whole.height)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    inner = whole.resize(size, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    safe = of.safe_box
    left = _compute_offset(size[0], of.width, (safe.left + safe.right) / 2)
    top = _compute_offset(size[1], of.height, (safe.top + safe.bottom) / 2)
    if how is ExtendMode.MIRROR:
        return _mirror_edges(flatten_on_ground(inner), (left, top), (of.width, of.height))
    if how is ExtendMode.COLOUR:
        ground = Image.new("RGB", (of.width, of.height), ImageColor.getrgb(colour)[:3])
    else:
        ground = _make_blurred_ground(flatten_on_ground(whole), (of.width, of.height))
    ground.paste(inner, (left, top), inner if inner.mode == "RGBA" else None)
    return ground


def soften_to_limit(image: Image.Image, limit: int) -> Image.Image:
    """`image` (RGB) with as much detail as a JPEG of `limit` bytes can hold at LEAST_QUALITY; the size stays. Nearly
    always that is `image` itself."""
    if limit >= TIGHT_BYTES_PER_PIXEL * image.width * image.height:
        return image
    soft, scale = image, 1.0
    while _measure_min_bytes(soft) > LIMIT_SHARE * limit and scale > 0.05:
        scale *= SOFTEN_FACTOR
        small = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        soft = image.resize(small, Image.Resampling.LANCZOS).resize(image.size, Image.Resampling.BICUBIC)
    return soft


def _measure_min_bytes(image: Image.Image) -> int:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=MIN_JPEG_QUALITY, subsampling="4:2:0")
    return file.tell()


def _ensure_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def _compute_offset(inner: int, outer: int, middle: float) -> int:
    """The start of a length of `inner` px in `outer` px, its middle at the fraction `middle` so far as it stays
    inside."""
    return min(max(round(outer * middle - inner / 2), 0), outer - inner)


def _make_blurred_ground(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image blown up to cover `size`, blurred and a little darker."""
    scale = BLUR_SIDE / max(size)
    small = (max(4, round(size[0] * scale)), max(4, round(size[1] * scale)))
    ratio = size[0] / size[1]
    wide, high = min(image.width, image.height * ratio), min(image.height, image.width / ratio)
    left, top = (image.width - wide) / 2, (image.height - high) / 2
    cover = image.resize(small, Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high), reducing_gap=2.0)
    soft = cover.filter(ImageFilter.GaussianBlur(max(2.0, small[0] * BLUR_SHARE)))
    return ImageEnhance.Brightness(soft).enhance(DIM_FACTOR).resize(size, Image.Resampling.BICUBIC)


def _mirror_edges(inner: Image.Image, place: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    (left, top), (width, height) = place, size
    around: Any = ((top, height - top - inner.height), (left, width - left - inner.width), (0, 0))
    pixels: Any = np.pad(np.asarray(inner), around, mode="symmetric")
    return Image.fromarray(pixels)

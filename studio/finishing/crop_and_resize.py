"""Sizes and parts of an image: cropped, resized, and cut to a derivative."""

from __future__ import annotations

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import Box, Derivative
from studio.core.range_checks import MAX_SIDE

_REDUCING_GAP = (
    3.0  # an image that is made much smaller is averaged to this many times its new size first, then filtered
)


def crop_image(image: Image.Image, box: Box) -> Image.Image:
    """The part of `image` in `box`, at least a pixel."""
    left, top = (min(int(at * side), side - 1) for at, side in zip((box.left, box.top), image.size, strict=True))
    right, bottom = round(box.right * image.width), round(box.bottom * image.height)
    return image.crop((left, top, max(left + 1, right), max(top + 1, bottom)))


def resize_image(image: Image.Image, width: int | None, height: int | None, max_pixels: int) -> Image.Image:
    """`image` brought to `width` and `height` px by Lanczos; where one is None the shape stays, where both are, the
    size.

    Raises:
        InvalidRequest: more than `max_pixels` or MAX_SIDE would come out.
    """
    size = fit_size(image.size, width, height)
    check_size(size, max_pixels)
    return image if size == image.size else _resample_image(image, size)


def fit_size(size: tuple[int, int], width: int | None, height: int | None) -> tuple[int, int]:
    """`size` brought to `width` and `height` px; where one is None the shape stays."""
    if width is None and height is None:
        return size
    if width is not None and height is not None:
        return width, height
    scale = width / size[0] if width is not None else (height or 1) / size[1]
    return (width or max(1, round(size[0] * scale))), (height or max(1, round(size[1] * scale)))


def make_derivative(image: Image.Image, derivative: Derivative, max_pixels: int) -> Image.Image:
    """`image` as the derivative: inside its sides in its own shape, or with `crop` filling them from the middle; never
    made larger unless it says so.

    Raises:
        InvalidRequest: more than `max_pixels` or MAX_SIDE would come out.
    """
    if derivative.crop and derivative.width and derivative.height:
        return _crop_to_cover(image, (derivative.width, derivative.height), derivative.enlarge, max_pixels)
    if derivative.width is None and derivative.height is None:
        return image
    scale = min(
        side / own
        for side, own in zip((derivative.width, derivative.height), image.size, strict=True)
        if side is not None
    )
    scale = scale if derivative.enlarge else min(1.0, scale)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    check_size(size, max_pixels)
    return image if size == image.size else _resample_image(image, size)


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raises InvalidRequest when an image of `size` would pass `max_pixels` or MAX_SIDE."""
    if max(size) > MAX_SIDE or size[0] * size[1] > max_pixels:
        raise InvalidRequest(
            f"An image of {size[0]}×{size[1]} would be too large.",
            hint=f"The limit is {MAX_SIDE} px per side and {max_pixels / 1e6:g} megapixels.",
            details={"width": size[0], "height": size[1]},
        )


def _crop_to_cover(image: Image.Image, size: tuple[int, int], enlarge: bool, max_pixels: int) -> Image.Image:
    """The largest part from the middle of `image` that has the shape of `size`, in that size."""
    scale = max(size[0] / image.width, size[1] / image.height)
    part = (size[0] / scale, size[1] / scale)
    left, top = (image.width - part[0]) / 2, (image.height - part[1]) / 2
    if scale > 1 and not enlarge:
        size = (max(1, int(part[0])), max(1, int(part[1])))
    check_size(size, max_pixels)
    return _resample_image(image, size, (left, top, left + part[0], top + part[1]))


def _resample_image(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=_REDUCING_GAP)

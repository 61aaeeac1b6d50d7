"""How far an image's canvas grows, and what stands on the new part before it is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.range_checks import MAX_SIDE
from studio.core.request import parse_aspect
from studio.core.request_parts import Outpaint
from studio.pipelines.run.source_images import extend_edges, flatten_alpha

if TYPE_CHECKING:
    import numpy as np

_FEATHER = 24  # px of the source along a grown side that are drawn anew and fade over
_FEATHER_SHARE = 0.25  # of the source's side, where that is less
_NOISE = 24  # of 255: gives the model something to make details of


@dataclass(frozen=True)
class OutpaintCanvas:
    """A canvas of `width` × `height` px with the source's upper left corner at (`left`, `top`)."""

    width: int
    height: int
    left: int
    top: int


def grow_canvas(outpaint: Outpaint | None, width: int, height: int) -> OutpaintCanvas:
    """The canvas for a source of `width` × `height` px. Pixels per side are added first; then an aspect, and `width`
    and `height`, widen what is there evenly on both sides.

    Raises:
        InvalidRequest: nothing grows, a canvas smaller than the source, or one beyond MAX_SIDE.
    """
    margins = outpaint or Outpaint()
    wide, high = width + margins.left + margins.right, height + margins.top + margins.bottom
    wanted = _compute_target_size(margins, wide, high)
    if wanted[0] < wide or wanted[1] < high:
        raise InvalidRequest(
            f"The image with what is added is {wide}×{high}, larger than the canvas of {wanted[0]}×{wanted[1]}.",
            hint="Choose a larger canvas, or crop the image first.",
        )
    if wanted == (width, height):
        raise InvalidRequest(
            "Outpainting adds no pixels.", hint="Add pixels on at least one side, or choose another aspect ratio."
        )
    if max(wanted) > MAX_SIDE:
        raise InvalidRequest(
            f"The canvas would be {wanted[0]}×{wanted[1]}.", hint=f"The limit is {MAX_SIDE} px per side."
        )
    left, top = margins.left + (wanted[0] - wide) // 2, margins.top + (wanted[1] - high) // 2
    return OutpaintCanvas(*wanted, left, top)


def _compute_target_size(outpaint: Outpaint, wide: int, high: int) -> tuple[int, int]:
    if outpaint.aspect is not None:
        aspect = parse_aspect(outpaint.aspect)
        wide, high = max(wide, math.floor(high * aspect + 0.5)), max(high, math.floor(wide / aspect + 0.5))
    return outpaint.width or wide, outpaint.height or high


def prefill_canvas(source: Image.Image, canvas: OutpaintCanvas) -> Image.Image:
    """The source on its canvas: around it its edges drawn out, with noise over them that is the same every time. RGB,
    or RGBA for a source that has transparency."""
    import numpy as np

    size, place = (canvas.width, canvas.height), (canvas.left, canvas.top)
    around = np.asarray(extend_edges(flatten_alpha(source), size, place), dtype=np.int16)
    noise = np.random.default_rng(0).integers(-_NOISE, _NOISE, around.shape, dtype=np.int16, endpoint=True)
    whole = Image.fromarray((around + noise).clip(0, 255).astype(np.uint8)).convert(source.mode)
    whole.paste(source, place)
    return whole


def build_outpaint_mask(canvas: OutpaintCanvas, width: int, height: int) -> Image.Image:
    """L, of the canvas' size: white where it is new, fading into the source (`width` × `height` px) along grown
    sides."""
    import numpy as np

    columns = _build_feather(canvas.width, canvas.left, width)
    rows = _build_feather(canvas.height, canvas.top, height)
    return Image.fromarray(np.maximum(columns[None, :], rows[:, None]))


def _build_feather(length: int, start: int, inside: int) -> np.ndarray:
    """255 outside the source, falling to 0 within it from each end where there is an outside."""
    import numpy as np

    feather = min(_FEATHER, int(inside * _FEATHER_SHARE))
    along = np.arange(length)
    outside = np.full(length, 0.0)
    for depth, there in ((along - start, start > 0), (start + inside - 1 - along, start + inside < length)):
        if there:
            outside = np.maximum(outside, 1 - (depth + 1) / (feather + 1))
    return (outside.clip(0, 1) * 255).round().astype(np.uint8)

"""Layers over a kept image: masks and paint, brought to the image's size, and paint put onto it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from studio.core.annotate import read_mask
from studio.core.errors import InvalidRequest
from studio.engine.storage.inputs import KeptImage

SHAPE_TOLERANCE = 0.02  # how much the shapes of image and layer may differ, as a fraction


def fit_mask(layer: Image.Image, below: KeptImage) -> Image.Image:
    """`layer` as a mask of the image `below`: mode L, its size.

    Raises:
        InvalidRequest: it is of another shape.
    """
    _check_shape(layer, below)
    return read_mask(layer).resize((below.width, below.height), Image.Resampling.BILINEAR)


def fit_paint(layer: Image.Image, below: KeptImage) -> Image.Image:
    """`layer` as paint on the image `below`: mode RGBA, its size; raises as `mask`."""
    _check_shape(layer, below)
    return layer.convert("RGBA").resize((below.width, below.height), Image.Resampling.BILINEAR)


def apply_paint(image: Path, layer: Path) -> Image.Image:
    """The kept `image`, RGB, with the paint of `layer` on it; both are of one size.

    Raises:
        InvalidRequest: they are not, for the paint belongs to another image.
    """
    with Image.open(image) as below, Image.open(layer) as above:
        if below.size != above.size:
            raise InvalidRequest("The sketch belongs to another image.", hint="Clear it and paint again.")
        return Image.alpha_composite(below.convert("RGBA"), above.convert("RGBA")).convert("RGB")


def _check_shape(layer: Image.Image, below: KeptImage) -> None:
    ratio = (layer.width / layer.height) / (below.width / below.height)
    slack = max(SHAPE_TOLERANCE, 1 / min(layer.size), 1 / min(below.width, below.height))
    if abs(ratio - 1) > slack:
        raise InvalidRequest(
            f"The mask is {layer.width}×{layer.height}, the image {below.width}×{below.height}.",
            hint="Use one of the same shape.",
        )

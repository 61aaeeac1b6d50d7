"""Line art without weights: what is darker than its blurred surroundings, white on black."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import pixel_arrays

_MIN_MEDIAN = 16.0  # keeps an empty image from having its noise drawn


def _draw_standard_lineart(
    image: Image.Image, options: Mapping[str, float], context: PreprocessorContext
) -> Image.Image:
    import cv2
    import numpy as np

    pixels = pixel_arrays.to_array(image).astype(np.float32)
    darker = (cv2.GaussianBlur(pixels, (0, 0), options["sigma"]) - pixels).min(axis=2).clip(0, 255)
    lines = darker[darker > options["threshold"]]
    median = float(np.median(lines)) if lines.size else 0.0
    return pixel_arrays.to_image(darker / max(_MIN_MEDIAN, median) * 127)


PREPROCESSOR = PreprocessorSpec(
    id="lineart_standard",
    title="Line art (standard, no weights)",
    kinds=("lineart",),
    run=_draw_standard_lineart,
    options=(
        OptionSpec(
            name="sigma",
            label="Width",
            low=0.5,
            high=20,
            default=6,
            step=0.5,
            help="Maximum line width, in pixels of blur.",
        ),
        OptionSpec(
            name="threshold",
            label="Threshold",
            low=0,
            high=64,
            default=8,
            step=1,
            help="Lighter areas are ignored when the line strength is computed.",
        ),
    ),
)

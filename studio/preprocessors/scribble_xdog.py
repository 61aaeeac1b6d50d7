"""A scribble without weights: dark strokes found as the difference of two blurs (Winnemöller, XDoG, 2011)."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import pixel_arrays

_FINE_SIGMA, _COARSE_SIGMA = 0.5, 5.0  # px


def _draw_xdog_scribble(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import cv2
    import numpy as np

    pixels = pixel_arrays.to_array(image).astype(np.float32)
    darker = cv2.GaussianBlur(pixels, (0, 0), _COARSE_SIGMA) - cv2.GaussianBlur(pixels, (0, 0), _FINE_SIGMA)
    strokes = darker.min(axis=2) * 2 > options["threshold"]
    return pixel_arrays.to_image(strokes.astype(np.uint8) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="scribble_xdog",
    title="Scribble (XDoG)",
    kinds=("scribble",),
    run=_draw_xdog_scribble,
    options=(
        OptionSpec(
            name="threshold",
            label="Threshold",
            low=1,
            high=64,
            default=32,
            step=1,
            help="How much darker than its surroundings a stroke must be. Lower draws more.",
        ),
    ),
)

"""Edges by Canny's method: thin white lines where the brightness jumps."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import pixel_arrays


def _detect_canny_edges(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import cv2

    return pixel_arrays.to_image(cv2.Canny(pixel_arrays.to_array(image), options["low"], options["high"]))


PREPROCESSOR = PreprocessorSpec(
    id="canny",
    title="Canny edges",
    kinds=("canny",),
    run=_detect_canny_edges,
    options=(
        OptionSpec(
            name="low",
            label="Low threshold",
            low=1,
            high=255,
            default=100,
            step=1,
            help="A weaker edge than this is dropped, unless it continues a strong one; lower finds more.",
        ),
        OptionSpec(
            name="high",
            label="High threshold",
            low=1,
            high=255,
            default=200,
            step=1,
            help="An edge stronger than this is always kept.",
        ),
    ),
)

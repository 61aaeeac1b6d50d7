"""Straight lines without weights: OpenCV's line segment detector (von Gioi et al., LSD, 2012)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import pixel_arrays


def _detect_lsd_lines(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import cv2
    import numpy as np

    grey = cv2.cvtColor(pixel_arrays.to_array(image), cv2.COLOR_RGB2GRAY)
    found = cv2.createLineSegmentDetector().detect(grey)[0]
    canvas = np.zeros_like(grey)
    shortest = options["length"] * min(image.size)
    for left, top, right, bottom in () if found is None else np.asarray(found).reshape(-1, 4).tolist():
        if math.hypot(right - left, bottom - top) >= shortest:
            cv2.line(canvas, (round(left), round(top)), (round(right), round(bottom)), 255, 1, cv2.LINE_AA)
    return pixel_arrays.to_image(canvas)


PREPROCESSOR = PreprocessorSpec(
    id="lines",
    title="Straight lines (LSD, no weights)",
    kinds=("mlsd",),
    run=_detect_lsd_lines,
    options=(
        OptionSpec(
            name="length",
            label="Shortest line",
            low=0.01,
            high=0.5,
            default=0.06,
            step=0.01,
            help="Minimum line length, as a fraction of the image's short side.",
        ),
    ),
)

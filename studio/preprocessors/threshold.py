"""Black and white: brighter than a threshold, or not."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import pixel_arrays


def _threshold_image(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import cv2

    grey = cv2.cvtColor(pixel_arrays.to_array(image), cv2.COLOR_RGB2GRAY)
    by_itself = cv2.THRESH_OTSU if options["threshold"] == 0 else 0
    return pixel_arrays.to_image(cv2.threshold(grey, options["threshold"], 255, cv2.THRESH_BINARY | by_itself)[1])


PREPROCESSOR = PreprocessorSpec(
    id="threshold",
    title="Black and white (threshold)",
    kinds=("scribble",),
    run=_threshold_image,
    options=(
        OptionSpec(
            name="threshold",
            label="Threshold",
            low=0,
            high=255,
            default=0,
            step=1,
            help="Brighter pixels become white. 0 chooses the value automatically (Otsu's method).",
        ),
    ),
)

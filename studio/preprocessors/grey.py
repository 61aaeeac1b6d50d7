"""The image's light without its colours, for recolouring."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import pixel_arrays


def _convert_to_grey(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import cv2
    import numpy as np

    lightness = cv2.cvtColor(pixel_arrays.to_array(image), cv2.COLOR_RGB2LAB)[..., 0].astype(np.float32)
    return pixel_arrays.to_image((lightness / 255) ** options["gamma"] * 255)


PREPROCESSOR = PreprocessorSpec(
    id="grey",
    title="Grey (recolour)",
    kinds=("recolor",),
    run=_convert_to_grey,
    options=(
        OptionSpec(
            name="gamma",
            label="Gamma",
            low=0.1,
            high=2,
            default=1,
            step=0.01,
            help="Below 1 brightens the map, above 1 darkens it.",
        ),
    ),
)

"""Straight lines by M-LSD (Gu et al., 2021): buildings and rooms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import downloadable_weights, pixel_arrays, weight_files

_WEIGHTS = downloadable_weights.make_annotator_weights(
    "mlsd_large_512_fp32.pth", "M-LSD large", 6_340_000, "Apache-2.0"
)


def _detect_mlsd_lines(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import cv2
    import numpy as np
    import torch

    def load() -> Any:
        from controlnet_aux.mlsd.models.mbv2_mlsd_large import MobileV2_MLSD_Large

        return weight_files.load_state(MobileV2_MLSD_Large(), context.get_weights_path(_WEIGHTS))

    with context.use_network(_WEIGHTS.title, load) as net, torch.inference_mode():
        from controlnet_aux.mlsd.utils import pred_lines

        width, height = (max(64, round(side / 64) * 64) for side in image.size)
        try:
            found = pred_lines(
                pixel_arrays.to_array(image), net, [height, width], options["score"], options["distance"]
            )
        except IndexError:  # how it says that there is no line
            found = ()
    canvas = np.zeros((image.height, image.width), np.uint8)
    for left, top, right, bottom in np.asarray(found).reshape(-1, 4).tolist():
        cv2.line(canvas, (int(left), int(top)), (int(right), int(bottom)), 255, 1)
    return pixel_arrays.to_image(canvas)


PREPROCESSOR = PreprocessorSpec(
    id="mlsd",
    title="Straight lines (M-LSD)",
    kinds=("mlsd",),
    run=_detect_mlsd_lines,
    options=(
        OptionSpec(
            name="score",
            label="Score threshold",
            low=0.01,
            high=1,
            default=0.1,
            step=0.01,
            help="Minimum confidence for a line. Lower finds more.",
        ),
        OptionSpec(
            name="distance",
            label="Distance threshold",
            low=0.01,
            high=20,
            default=0.1,
            step=0.01,
            help="How long a line must be, in pixels at half the map's size.",
        ),
    ),
    weights=(_WEIGHTS,),
    network=True,
    largest=1024,
)

"""Depth by Depth Anything V2 (Yang et al., 2024): near is white."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import depth_networks, downloadable_weights, pixel_arrays


def _estimate_depth(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    return pixel_arrays.to_image(
        depth_networks.estimate_nearness(image, downloadable_weights.DEPTH_WEIGHTS, context) * 255
    )


PREPROCESSOR = PreprocessorSpec(
    id="depth",
    title="Depth (Depth Anything V2)",
    kinds=("depth",),
    run=_estimate_depth,
    weights=(downloadable_weights.DEPTH_WEIGHTS,),
    network=True,
    largest=depth_networks.DEPTH_MAX_SIDE,
)

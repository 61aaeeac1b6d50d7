"""Depth by DPT-Large (Ranftl et al., 2021), of the MiDaS family that the older depth ControlNets learnt from: near is
white."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import depth_networks, downloadable_weights, pixel_arrays

_WEIGHTS = downloadable_weights.make_repo_weights("Intel/dpt-large", "DPT Large (MiDaS 3)", 1_370_000_000)


def _estimate_midas_depth(
    image: Image.Image, options: Mapping[str, float], context: PreprocessorContext
) -> Image.Image:
    return pixel_arrays.to_image(depth_networks.estimate_nearness(image, _WEIGHTS, context) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="depth_midas",
    title="Depth (MiDaS)",
    kinds=("depth",),
    run=_estimate_midas_depth,
    weights=(_WEIGHTS,),
    network=True,
    largest=depth_networks.DEPTH_MAX_SIDE,
)

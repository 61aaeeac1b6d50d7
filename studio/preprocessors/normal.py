"""Normals from the slopes of a depth map: red faces left, green up, blue the viewer, as the normal ControlNets have
it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import depth_networks, downloadable_weights, pixel_arrays


def _estimate_normals(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    return pixel_arrays.to_image(
        compute_normals(depth_networks.estimate_nearness(image, downloadable_weights.DEPTH_WEIGHTS, context), **options)
    )


def compute_normals(near: Any, strength: float, background: float) -> Any:
    """(height, width, 3) of 0–255 for (height, width) of nearness, 0–1: a rise of 1 over the short side is a slope of
    45°."""
    import cv2
    import numpy as np

    soft = cv2.GaussianBlur(near.astype(np.float32), (0, 0), 1.0)
    slope = strength * min(near.shape) * (soft > background)
    # Where it gets nearer to the right, the surface faces left; where it gets nearer downwards, it faces up.
    left, up = (cv2.Sobel(soft, cv2.CV_32F, *axis, scale=1 / 8) * slope for axis in ((1, 0), (0, 1)))
    facing = np.dstack([left, up, np.ones_like(soft)])
    return (facing / np.linalg.norm(facing, axis=2, keepdims=True) + 1) * 127.5


PREPROCESSOR = PreprocessorSpec(
    id="normal",
    title="Normals (from Depth Anything V2)",
    kinds=("normal",),
    run=_estimate_normals,
    options=(
        OptionSpec(
            name="strength",
            label="Strength",
            low=0.1,
            high=4,
            default=1,
            step=0.1,
            help="Higher makes slopes look steeper.",
        ),
        OptionSpec(
            name="background",
            label="Background threshold",
            low=0,
            high=1,
            default=0.1,
            step=0.01,
            help="Areas farther away than this are flat (0 is the farthest).",
        ),
    ),
    weights=(downloadable_weights.DEPTH_WEIGHTS,),
    network=True,
    largest=depth_networks.DEPTH_MAX_SIDE,
)

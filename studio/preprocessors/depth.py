"""Depth by Depth Anything V2 (Yang et al., 2024): near is white."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors.common import depth_networks, downloadable_weights, pixel_arrays


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return pixel_arrays.picture(depth_networks.nearness(image, downloadable_weights.DEPTH, bench) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="depth", title="Depth (Depth Anything V2)", kinds=("depth",), run=_run,
    offers=(downloadable_weights.DEPTH,), network=True, largest=depth_networks.LARGEST,
)  # fmt: skip

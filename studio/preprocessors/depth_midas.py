"""Depth by DPT-Large (Ranftl et al., 2021), of the MiDaS family that the older depth ControlNets learnt from: near is white."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors.common import depth_networks, downloadable_weights, pixel_arrays

_OFFER = downloadable_weights.repo("Intel/dpt-large", "DPT Large (MiDaS 3)", 1_370_000_000)


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return pixel_arrays.picture(depth_networks.nearness(image, _OFFER, bench) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="depth_midas", title="Depth (MiDaS)", kinds=("depth",), run=_run,
    offers=(_OFFER,), network=True, largest=depth_networks.LARGEST,
)  # fmt: skip

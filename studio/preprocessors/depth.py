"""Depth by Depth Anything V2 (Yang et al., 2024): near is white."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors import _depth, _offers, _pixels


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return _pixels.picture(_depth.nearness(image, _offers.DEPTH, bench) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="depth", title="Depth (Depth Anything V2)", kinds=("depth",), run=_run,
    offers=(_offers.DEPTH,), network=True, largest=_depth.LARGEST,
)  # fmt: skip

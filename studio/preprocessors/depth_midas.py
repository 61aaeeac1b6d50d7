"""Depth by DPT-Large (Ranftl et al., 2021), of the MiDaS family that the older depth ControlNets learnt from: near is white."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors import _depth, _offers, _pixels

_OFFER = _offers.repo("Intel/dpt-large", "DPT Large (MiDaS 3)", 1_370_000_000)


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return _pixels.picture(_depth.nearness(image, _OFFER, bench) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="depth_midas", title="Depth (MiDaS)", kinds=("depth",), run=_run,
    offers=(_OFFER,), network=True, largest=_depth.LARGEST,
)  # fmt: skip

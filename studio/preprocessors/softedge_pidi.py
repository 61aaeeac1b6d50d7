"""Soft edges by PiDiNet (Su et al., 2021), the lightest of the networks."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors import _offers, _pidi, _pixels, _soft


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return _pixels.picture(_soft.stepped(_pidi.edges(image, bench), options) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="softedge_pidi", title="Soft edges (PiDiNet)", kinds=("softedge",), run=_run, options=(_soft.SAFE,),
    offers=(_offers.PIDI,), network=True, largest=2048,
)  # fmt: skip

"""A scribble drawn along the soft edges of PiDiNet."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors import _offers, _pidi, _pixels


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return _pixels.picture(_pixels.thinned(_pidi.edges(image, bench) * 255))


PREPROCESSOR = PreprocessorSpec(
    id="scribble_pidi", title="Scribble (PiDiNet)", kinds=("scribble",), run=_run,
    offers=(_offers.PIDI,), network=True, largest=2048,
)  # fmt: skip

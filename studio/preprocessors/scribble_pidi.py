"""A scribble drawn along the soft edges of PiDiNet."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors.common import downloadable_weights, pidi_network, pixel_arrays


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return pixel_arrays.picture(pixel_arrays.thinned(pidi_network.edges(image, bench) * 255))


PREPROCESSOR = PreprocessorSpec(
    id="scribble_pidi", title="Scribble (PiDiNet)", kinds=("scribble",), run=_run,
    offers=(downloadable_weights.PIDI,), network=True, largest=2048,
)  # fmt: skip

"""A scribble drawn along the soft edges of PiDiNet."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import downloadable_weights, pidi_network, pixel_arrays


def _draw_pidi_scribble(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    return pixel_arrays.to_image(pixel_arrays.thin_edges(pidi_network.detect_pidi_edges(image, context) * 255))


PREPROCESSOR = PreprocessorSpec(
    id="scribble_pidi",
    title="Scribble (PiDiNet)",
    kinds=("scribble",),
    run=_draw_pidi_scribble,
    weights=(downloadable_weights.PIDI_WEIGHTS,),
    network=True,
    largest=2048,
)

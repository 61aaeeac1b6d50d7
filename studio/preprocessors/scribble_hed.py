"""A scribble drawn along the soft edges of HED; works with no download."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import hed_network, pixel_arrays


def _draw_hed_scribble(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    return pixel_arrays.to_image(pixel_arrays.thin_edges(hed_network.detect_hed_edges(image, context) * 255))


PREPROCESSOR = PreprocessorSpec(
    id="scribble_hed",
    title="Scribble (HED)",
    kinds=("scribble",),
    run=_draw_hed_scribble,
    package=hed_network.PACKAGE,
    network=True,
    largest=hed_network.HED_MAX_SIDE,
)

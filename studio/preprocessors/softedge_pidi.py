"""Soft edges by PiDiNet (Su et al., 2021), the lightest of the networks."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import downloadable_weights, pidi_network, pixel_arrays, soft_edges


def _detect_pidi_soft_edges(
    image: Image.Image, options: Mapping[str, float], context: PreprocessorContext
) -> Image.Image:
    return pixel_arrays.to_image(
        soft_edges.apply_safe_option(pidi_network.detect_pidi_edges(image, context), options) * 255
    )


PREPROCESSOR = PreprocessorSpec(
    id="softedge_pidi",
    title="Soft edges (PiDiNet)",
    kinds=("softedge",),
    run=_detect_pidi_soft_edges,
    options=(soft_edges.SAFE_OPTION,),
    weights=(downloadable_weights.PIDI_WEIGHTS,),
    network=True,
    largest=2048,
)

"""Soft edges by HED; works with no download."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import hed_network, pixel_arrays, soft_edges


def _detect_hed_soft_edges(
    image: Image.Image, options: Mapping[str, float], context: PreprocessorContext
) -> Image.Image:
    return pixel_arrays.to_image(
        soft_edges.apply_safe_option(hed_network.detect_hed_edges(image, context), options) * 255
    )


PREPROCESSOR = PreprocessorSpec(
    id="softedge_hed",
    title="Soft edges (HED)",
    kinds=("softedge",),
    run=_detect_hed_soft_edges,
    options=(soft_edges.SAFE_OPTION,),
    package=hed_network.PACKAGE,
    network=True,
    largest=hed_network.HED_MAX_SIDE,
)

"""Soft edges by HED; works with no download."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors.common import hed_network, pixel_arrays, soft_edges


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return pixel_arrays.picture(soft_edges.stepped(hed_network.edges(image, bench), options) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="softedge_hed", title="Soft edges (HED)", kinds=("softedge",), run=_run, options=(soft_edges.SAFE,),
    package=hed_network.PACKAGE, network=True, largest=hed_network.LARGEST,
)  # fmt: skip

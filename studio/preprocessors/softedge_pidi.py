"""Soft edges by PiDiNet (Su et al., 2021), the lightest of the networks."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors.common import downloadable_weights, pidi_network, pixel_arrays, soft_edges


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return pixel_arrays.picture(soft_edges.stepped(pidi_network.edges(image, bench), options) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="softedge_pidi", title="Soft edges (PiDiNet)", kinds=("softedge",), run=_run, options=(soft_edges.SAFE,),
    offers=(downloadable_weights.PIDI,), network=True, largest=2048,
)  # fmt: skip

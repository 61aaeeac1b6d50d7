"""A scribble drawn along the soft edges of HED; works with no download."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors.common import hed_network, pixel_arrays


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return pixel_arrays.picture(pixel_arrays.thinned(hed_network.edges(image, bench) * 255))


PREPROCESSOR = PreprocessorSpec(
    id="scribble_hed", title="Scribble (HED)", kinds=("scribble",), run=_run,
    package=hed_network.PACKAGE, network=True, largest=hed_network.LARGEST,
)  # fmt: skip

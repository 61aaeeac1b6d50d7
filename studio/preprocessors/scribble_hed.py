"""A scribble drawn along the soft edges of HED; works with no download."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors import _hed, _pixels


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return _pixels.picture(_pixels.thinned(_hed.edges(image, bench) * 255))


PREPROCESSOR = PreprocessorSpec(
    id="scribble_hed", title="Scribble (HED)", kinds=("scribble",), run=_run,
    package=_hed.PACKAGE, network=True, largest=_hed.LARGEST,
)  # fmt: skip

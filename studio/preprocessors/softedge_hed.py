"""Soft edges by HED; works with no download."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors import _hed, _pixels, _soft


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    return _pixels.picture(_soft.stepped(_hed.edges(image, bench), options) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="softedge_hed", title="Soft edges (HED)", kinds=("softedge",), run=_run, options=(_soft.SAFE,),
    package=_hed.PACKAGE, network=True, largest=_hed.LARGEST,
)  # fmt: skip

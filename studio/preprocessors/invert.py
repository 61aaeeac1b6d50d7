"""Light for dark: makes white lines on black, as ControlNets want them, of a drawing on paper."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageOps

from studio.core.annotate import PreprocessorContext, PreprocessorSpec


def _invert_image(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    return ImageOps.invert(image)


PREPROCESSOR = PreprocessorSpec(
    id="invert",
    title="Invert (from white ground and black lines)",
    kinds=("lineart", "lineart_anime", "scribble", "canny", "mlsd", "softedge"),
    run=_invert_image,
)

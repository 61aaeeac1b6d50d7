"""The image blurred: where colours and light are, without the shapes' edges."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageFilter

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec


def _blur_image(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(options["sigma"]))


PREPROCESSOR = PreprocessorSpec(
    id="blur",
    title="Blur",
    kinds=("blur", "tile"),
    run=_blur_image,
    options=(
        OptionSpec(
            name="sigma",
            label="Radius",
            low=0.5,
            high=64,
            default=9,
            step=0.5,
            help="How strong the blur is, in pixels of the map.",
        ),
    ),
)

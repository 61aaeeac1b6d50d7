"""For the tile ControlNet: the image with its finest detail taken out, for the model to draw anew."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec


def _downsample_image(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    if options["down"] == 1:
        return image
    small = (max(1, round(image.width / options["down"])), max(1, round(image.height / options["down"])))
    return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)


PREPROCESSOR = PreprocessorSpec(
    id="tile",
    title="Tile",
    kinds=("tile",),
    run=_downsample_image,
    options=(
        OptionSpec(
            name="down",
            label="Down-sampling",
            low=1,
            high=8,
            default=1,
            step=0.01,
            help="Factor by which the image is reduced. 1 keeps its size.",
        ),
    ),
)

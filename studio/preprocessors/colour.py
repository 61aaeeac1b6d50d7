"""The image as a coarse grid of colours, for the colour T2I-Adapter: where which colour goes."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec


def _make_colour_grid(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    cell = options["cell"]
    cells = (max(1, round(image.width / cell)), max(1, round(image.height / cell)))
    return image.resize(cells, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


PREPROCESSOR = PreprocessorSpec(
    id="colour",
    title="Colour grid",
    kinds=("color",),
    run=_make_colour_grid,
    options=(
        OptionSpec(
            name="cell",
            label="Cell",
            low=4,
            high=256,
            default=64,
            step=1,
            help="Side of a cell in pixels of the map.",
        ),
    ),
)

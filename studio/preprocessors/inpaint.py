"""For the inpaint ControlNet: the image, black where it is to be drawn anew.

Black stands for the −1 that the network wants there, which an image cannot hold; who feeds the network puts it in by
the mask.
"""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec


def _blacken_masked_area(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    if image.mode != "RGBA":
        return image
    kept = image.getchannel("A").point([0] * 128 + [255] * 128)
    return Image.composite(image.convert("RGB"), Image.new("RGB", image.size), kept)


PREPROCESSOR = PreprocessorSpec(
    id="inpaint",
    title="Inpaint (masked or transparent parts black)",
    kinds=("inpaint",),
    run=_blacken_masked_area,
    alpha=True,
)

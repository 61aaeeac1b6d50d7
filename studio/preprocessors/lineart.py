"""Line art by the networks of "Informative Drawings" (Chan et al., 2022): one fine, one coarse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import downloadable_weights, pixel_arrays, weight_files

_FINE_WEIGHTS = downloadable_weights.make_annotator_weights("sk_model.pth", "Line art, fine", 17_200_000, "MIT")
_COARSE_WEIGHTS = downloadable_weights.make_annotator_weights("sk_model2.pth", "Line art, coarse", 17_200_000, "MIT")


def _draw_lineart(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import torch

    chosen = _COARSE_WEIGHTS if options["coarse"] else _FINE_WEIGHTS

    def load() -> Any:
        from controlnet_aux.lineart import Generator

        return weight_files.load_state(Generator(3, 1, 3), context.get_weights_path(chosen))

    with context.use_network(chosen.title, load) as net, torch.inference_mode():
        paper = pixel_arrays.crop_to_image(net(pixel_arrays.to_tensor(image, context.device))[0, 0], image)
    return pixel_arrays.to_image((1 - paper) * 255)


PREPROCESSOR = PreprocessorSpec(
    id="lineart",
    title="Line art",
    kinds=("lineart",),
    run=_draw_lineart,
    options=(
        OptionSpec(
            name="coarse",
            label="Coarse",
            low=0,
            high=1,
            default=0,
            step=1,
            help="1 draws fewer, rougher lines.",
        ),
    ),
    weights=(_FINE_WEIGHTS, _COARSE_WEIGHTS),
    network=True,
    largest=1536,
)

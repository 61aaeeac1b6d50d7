"""Line art as of drawn images, by the network of Anime2Sketch (Xiang et al., 2021)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import downloadable_weights, pixel_arrays, weight_files

_WEIGHTS = downloadable_weights.make_annotator_weights("netG.pth", "Line art, anime", 218_000_000, "MIT")
_SIDE_MULTIPLE = 256  # px: it halves its image eight times


def _draw_anime_lineart(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import torch

    def load() -> Any:
        from controlnet_aux.lineart_anime import UnetGenerator

        norm: Any = functools.partial(torch.nn.InstanceNorm2d, affine=False, track_running_stats=False)
        return weight_files.load_state(UnetGenerator(3, 1, 8, 64, norm_layer=norm), context.get_weights_path(_WEIGHTS))

    width, height = (-(-side // _SIDE_MULTIPLE) * _SIDE_MULTIPLE for side in image.size)
    stretched = image.resize((width, height), Image.Resampling.BICUBIC)
    with context.use_network(_WEIGHTS.title, load) as net, torch.inference_mode():
        paper = pixel_arrays.crop_to_image(
            net(pixel_arrays.to_tensor(stretched, context.device) * 2 - 1)[0, 0], stretched
        )
    return pixel_arrays.to_image((1 - paper) * 127.5).resize(image.size, Image.Resampling.BICUBIC)


PREPROCESSOR = PreprocessorSpec(
    id="lineart_anime",
    title="Line art (anime)",
    kinds=("lineart_anime",),
    run=_draw_anime_lineart,
    weights=(_WEIGHTS,),
    network=True,
    largest=1536,
)

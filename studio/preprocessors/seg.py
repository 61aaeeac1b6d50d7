"""Segmentation into the 150 classes of ADE20K, in its colours, by UPerNet (Xiao et al., 2018) over ConvNeXt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import downloadable_weights, pixel_arrays, weight_files

_WEIGHTS = downloadable_weights.make_repo_weights(
    "openmmlab/upernet-convnext-tiny", "UPerNet ConvNeXt Tiny (ADE20K)", 241_000_000, "MIT"
)


def _segment_image(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import numpy as np
    import torch

    def load() -> Any:
        return weight_files.load_pretrained(
            context.get_weights_path(_WEIGHTS), "UperNetForSemanticSegmentation", "AutoImageProcessor"
        )

    with context.use_network(_WEIGHTS.title, load) as (model, processor), torch.inference_mode():
        scores = model(**processor(images=image, return_tensors="pt").to(context.device)).logits
        full = torch.nn.functional.interpolate(scores, (image.height, image.width), mode="bilinear")
        classes = full[0].argmax(dim=0).cpu().numpy()
    return pixel_arrays.to_image(np.asarray(_load_palette(), np.uint8)[classes])


def _load_palette() -> list[list[int]]:
    """The colours that the segmentation ControlNets learnt from, by class."""
    from controlnet_aux.util import ade_palette

    return ade_palette()


PREPROCESSOR = PreprocessorSpec(
    id="seg",
    title="Segmentation (ADE20K)",
    kinds=("seg",),
    run=_segment_image,
    weights=(_WEIGHTS,),
    network=True,
    largest=1024,  # at which the scores of all classes take half a gigabyte
    flat=True,
)

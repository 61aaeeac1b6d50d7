"""Segmentation into the 150 classes of ADE20K, in its colours, by UPerNet (Xiao et al., 2018) over ConvNeXt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import PreprocessorSpec, Workbench
from studio.preprocessors import _offers, _pixels, _weights

_OFFER = _offers.repo("openmmlab/upernet-convnext-tiny", "UPerNet ConvNeXt Tiny (ADE20K)", 241_000_000, "MIT")


def _run(image: Image.Image, options: Mapping[str, float], bench: Workbench) -> Image.Image:
    import numpy as np
    import torch

    def load() -> Any:
        return _weights.pretrained(bench.path(_OFFER), "UperNetForSemanticSegmentation", "AutoImageProcessor")

    with bench.network(_OFFER.title, load) as (model, processor), torch.inference_mode():
        scores = model(**processor(images=image, return_tensors="pt").to(bench.device)).logits
        full = torch.nn.functional.interpolate(scores, (image.height, image.width), mode="bilinear")
        classes = full[0].argmax(dim=0).cpu().numpy()
    return _pixels.picture(np.asarray(_palette(), np.uint8)[classes])


def _palette() -> list[list[int]]:
    """The colours that the segmentation ControlNets learnt from, by class."""
    from controlnet_aux.util import ade_palette

    return ade_palette()


PREPROCESSOR = PreprocessorSpec(
    id="seg", title="Segmentation (ADE20K)", kinds=("seg",), run=_run, offers=(_OFFER,), network=True,
    largest=1024,  # at which the scores of all classes take half a gigabyte
    flat=True,
)  # fmt: skip

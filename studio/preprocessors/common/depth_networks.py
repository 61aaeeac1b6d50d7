"""Depth by transformers' own models: how near each pixel is."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from studio.core.annotate import Workbench
from studio.core.weights import Offer
from studio.preprocessors.common import pixel_arrays, weight_files

LARGEST = 2048  # px; the networks look at some 500 px whatever they are given


def nearness(image: Image.Image, offer: Offer, bench: Workbench) -> np.ndarray[Any, Any]:
    """(height, width) of 0–1: 1 is the nearest point of the picture, 0 the farthest."""
    import torch

    def load() -> Any:
        return weight_files.pretrained(bench.path(offer), "AutoModelForDepthEstimation", "AutoImageProcessor")

    with bench.network(offer.title, load) as (model, processor), torch.inference_mode():
        depth = model(**processor(images=image, return_tensors="pt").to(bench.device)).predicted_depth
        full = torch.nn.functional.interpolate(depth[:, None], (image.height, image.width), mode="bicubic")
        return pixel_arrays.stretched(full[0, 0].float().cpu().numpy())

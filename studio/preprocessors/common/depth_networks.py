"""Depth by transformers' own models: how near each pixel is."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from studio.core.annotate import PreprocessorContext
from studio.core.weights import DownloadableWeights
from studio.preprocessors.common import pixel_arrays, weight_files

DEPTH_MAX_SIDE = 2048  # px; the networks look at some 500 px whatever they are given


def estimate_nearness(
    image: Image.Image, weights: DownloadableWeights, context: PreprocessorContext
) -> np.ndarray[Any, Any]:
    """(height, width) of 0–1: 1 is the nearest point of the image, 0 the farthest."""
    import torch

    def load() -> Any:
        return weight_files.load_pretrained(
            context.get_weights_path(weights), "AutoModelForDepthEstimation", "AutoImageProcessor"
        )

    with context.use_network(weights.title, load) as (model, processor), torch.inference_mode():
        depth = model(**processor(images=image, return_tensors="pt").to(context.device)).predicted_depth
        full = torch.nn.functional.interpolate(depth[:, None], (image.height, image.width), mode="bicubic")
        return pixel_arrays.stretch_values(full[0, 0].float().cpu().numpy())

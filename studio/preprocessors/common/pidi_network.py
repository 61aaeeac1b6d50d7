"""PiDiNet's soft edges, with controlnet-aux's network."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from studio.core.annotate import PreprocessorContext
from studio.preprocessors.common import downloadable_weights, pixel_arrays, weight_files


def detect_pidi_edges(image: Image.Image, context: PreprocessorContext) -> np.ndarray[Any, Any]:
    """How surely each pixel lies on an edge, (height, width) of 0–1."""
    import torch

    def load() -> Any:
        from controlnet_aux.pidi.model import pidinet

        return weight_files.load_state(
            pidinet(), context.get_weights_path(downloadable_weights.PIDI_WEIGHTS), key="state_dict"
        )

    with context.use_network("PiDiNet", load) as net, torch.inference_mode():
        pixels = pixel_arrays.to_tensor(image, context.device).flip(1)  # it learnt from BGR
        return pixel_arrays.crop_to_image(net(pixels)[-1][0, 0], image)

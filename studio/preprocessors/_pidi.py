"""PiDiNet's soft edges, with controlnet-aux's network."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from studio.core.annotate import Workbench
from studio.preprocessors import _offers, _pixels, _weights


def edges(image: Image.Image, bench: Workbench) -> np.ndarray[Any, Any]:
    """How surely each pixel lies on an edge, (height, width) of 0–1."""
    import torch

    def load() -> Any:
        from controlnet_aux.pidi.model import pidinet

        return _weights.filled(pidinet(), bench.path(_offers.PIDI), key="state_dict")

    with bench.network("PiDiNet", load) as net, torch.inference_mode():
        pixels = _pixels.tensor(image, bench.device).flip(1)  # it learnt from BGR
        return _pixels.cropped(net(pixels)[-1][0, 0], image)

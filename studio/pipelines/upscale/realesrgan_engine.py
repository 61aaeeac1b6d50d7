"""Real-ESRGAN run by its makers' own engine, the package realesrgan, instead of spandrel: the same weights, the same
images.

The engine's own tiles are not used, as their edges show; ours hold one image for it after the other.
"""

from __future__ import annotations

import math
import re
import sys
import tempfile
import types
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import ModelBroken, NotConfigured
from studio.core.weights import WeightFile
from studio.pipelines.upscale import spandrel_networks
from studio.pipelines.upscale.upscale_image import Upscaler

if TYPE_CHECKING:
    import torch

ENGINE_SUFFIX = "@realesrgan"
"""The suffix of an upscaler's name that selects its makers' engine."""


def is_installed() -> bool:
    """Whether the package is installed."""
    return find_spec("realesrgan") is not None


def is_supported(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the engine knows a network with tensors of these names: RRDBNet and the compact one, as Real-ESRGAN names
    them."""
    return "body.0.rdb1.conv1.weight" in shapes or ("body.0.weight" in shapes and "body.1.weight" in shapes)


def load_engine_upscaler(file: WeightFile, device: str, precision: str = "auto") -> Upscaler:
    """The upscaler in `file`, run by RealESRGANer.

    Raises:
        NotConfigured: the package is not installed. ModelBroken: no network of Real-ESRGAN's.
    """
    if not is_installed():
        raise NotConfigured("The package realesrgan is not installed.", hint="Choose the upscaler without its suffix.")
    tensors = spandrel_networks.read_state_dict(file)
    if not is_supported({name: tuple(tensor.shape) for name, tensor in tensors.items()}):
        raise ModelBroken(f"{file.path.name} is not a Real-ESRGAN network.", hint="Choose it without the suffix.")
    return Upscaler(RealESRGANEngine(tensors), device, precision)


class RealESRGANEngine:
    """RealESRGANer, `makers`, as an Upscaler runs a network. `tensors` are those of a file that `fits`."""

    supports_half = True
    supports_bfloat16 = False

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        import torch

        _patch_torchvision()
        from realesrgan import RealESRGANer

        self.scale, network = _build_network(tensors)
        with tempfile.TemporaryDirectory() as folder:  # it reads files of its makers' form only
            path = Path(folder) / "weights.pth"
            torch.save({"params": dict(tensors)}, path)
            self.makers = RealESRGANer(self.scale, str(path), model=network, tile=0, pre_pad=0, device="cpu")
        self.model: torch.nn.Module = self.makers.model

    def to(self, device: str, dtype: torch.dtype) -> None:
        import torch

        self.model.to(device, dtype)
        self.makers.device, self.makers.half = torch.device(device), dtype is torch.float16

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        import torch

        made: list[torch.Tensor] = []
        for image in pixels:
            self.makers.pre_process(image.permute(1, 2, 0).float().cpu().numpy())
            self.makers.process()
            made.append(self.makers.post_process())
        return torch.cat(made)


def _patch_torchvision() -> None:
    """basicsr, which realesrgan is built on, imports a module that torchvision dropped in 0.17."""
    import torchvision.transforms.functional as functional

    name = "torchvision.transforms.functional_tensor"
    stand_in = types.ModuleType(name)
    stand_in.__dict__["rgb_to_grayscale"] = functional.rgb_to_grayscale
    sys.modules.setdefault(name, stand_in)


def _build_network(tensors: Mapping[str, torch.Tensor]) -> tuple[int, Any]:
    """(scale, the makers' network of the shape that the tensors have)."""
    from basicsr.archs.rrdbnet_arch import RRDBNet
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact

    numbers = {int(found[1]) for name in tensors if (found := re.match(r"body\.(\d+)\.", name))}
    if "conv_first.weight" in tensors:
        features, channels = tensors["conv_first.weight"].shape[:2]
        scale = {3: 4, 12: 2, 48: 1}[channels]  # smaller factors begin by folding the image
        grow = tensors["body.0.rdb1.conv1.weight"].shape[0]
        return scale, RRDBNet(3, 3, scale=scale, num_feat=features, num_block=len(numbers), num_grow_ch=grow)
    features, last = tensors["body.0.weight"].shape[0], max(numbers)
    scale = math.isqrt(tensors[f"body.{last}.weight"].shape[0] // 3)
    return scale, SRVGGNetCompact(3, 3, num_feat=features, num_conv=(last - 2) // 2, upscale=scale, act_type="prelu")

"""Tiny random-weight ControlNets and adapters of diffusers' real classes, saved for the real loader.

A ControlNet begins with layers of zeros, which add nothing; here they hold something, so that it matters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from studio.core.weights import WeightFile, WeightKind
from tests.tiny_models import make_tiny_sd15


def make_tile_image(seed: int = 0, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """An image of random coloured tiles."""
    import numpy as np

    tiles = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype="uint8")
    return Image.fromarray(tiles).resize(size, Image.Resampling.NEAREST)


def fill_zero_tensors(module: Any, seed: int) -> Any:
    """`module` with every tensor of zeros filled, the same way each time."""
    import torch

    source = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point() and not tensor.any():
            tensor.copy_(torch.randn(tensor.shape, generator=source) * 0.2)
    return module.eval()


def make_tiny_crossed(folder: Path) -> Path:
    """A tiny_sd15 whose UNet has attention on all levels, as T2I-Adapters for Stable Diffusion 1 expect it of all but
    the last."""
    import torch
    from diffusers import UNet2DConditionModel

    make_tiny_sd15(folder)
    config = UNet2DConditionModel.load_config(folder / "unet", local_files_only=True)
    blocks = {"down_block_types": ("CrossAttnDownBlock2D",) * 2, "up_block_types": ("CrossAttnUpBlock2D",) * 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        UNet2DConditionModel.from_config({**config, **blocks}).save_pretrained(folder / "unet")
    return folder


def make_tiny_controlnet(folder: Path, checkpoint: Path, *, seed: int = 1, **changes: Any) -> WeightFile:
    """A ControlNetModel made from the UNet of the checkpoint folder, as published ones are."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet", local_files_only=True)
    net = fill_zero_tensors(ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 16)), seed)
    net.register_to_config(**changes)
    return save_network(net, folder, _detect_family(unet))


def make_tiny_union(folder: Path, checkpoint: Path) -> WeightFile:
    """A ControlNetUnionModel for an SDXL checkpoint."""
    import torch
    from diffusers import ControlNetUnionModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet", local_files_only=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # from_unet of this class wants the published layout of blocks
        config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
        net = ControlNetUnionModel.from_config(
            {
                **config,
                "num_trans_channel": 16,
                "num_trans_head": 2,
                "conditioning_embedding_out_channels": (4, 8, 8, 16),
                "num_control_type": 6,
                "num_proj_channel": 16,
            }
        )
    return save_network(fill_zero_tensors(net, 2), folder, "sdxl")


def make_tiny_flux_controlnet(folder: Path, checkpoint: Path, *, modes: int | None = None, seed: int = 3) -> WeightFile:
    import torch
    from diffusers import FluxControlNetModel, FluxTransformer2DModel

    config = FluxTransformer2DModel.load_config(checkpoint / "transformer", local_files_only=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = FluxControlNetModel.from_config({**config, "num_mode": modes})
    return save_network(fill_zero_tensors(net, seed), folder, "flux")


def add_second_layer(checkpoint: Path) -> Path:
    """The checkpoint of tiny_sd3 with a second layer: a ControlNet adds nothing to the last one."""
    import torch
    from diffusers import SD3Transformer2DModel

    config = SD3Transformer2DModel.load_config(checkpoint / "transformer", local_files_only=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        SD3Transformer2DModel.from_config({**config, "num_layers": 2}).save_pretrained(checkpoint / "transformer")
    return checkpoint


def make_tiny_sd3_controlnet(folder: Path, checkpoint: Path) -> WeightFile:
    import torch
    from diffusers import SD3ControlNetModel, SD3Transformer2DModel

    config = SD3Transformer2DModel.load_config(checkpoint / "transformer", local_files_only=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        net = SD3ControlNetModel.from_config({**config, "num_layers": 1})
    return save_network(fill_zero_tensors(net, 4), folder, "sd3")


def make_tiny_t2i_adapter(folder: Path, *, grey: bool = False) -> WeightFile:
    """For the UNet of tiny_crossed."""
    import torch
    from diffusers import T2IAdapter

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = T2IAdapter(in_channels=1 if grey else 3, channels=[16, 32], num_res_blocks=1, downscale_factor=8).eval()
    return save_network(net, folder, "sd15", WeightKind.T2I_ADAPTER)


def make_tiny_ip_adapter(folder: Path, checkpoint: Path, *, seed: int = 6) -> WeightFile:
    """An IP-Adapter in the layout of h94's files, and its CLIP image encoder in `folder`/image_encoder."""
    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet", local_files_only=True)
    text, image = unet.config.cross_attention_dim, 24
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=32,
                patch_size=16,
                projection_dim=image,
            )
        )
        encoder.save_pretrained(folder / "image_encoder")
        tensors = {
            "image_proj.proj.weight": torch.randn(4 * text, image),
            "image_proj.proj.bias": torch.randn(4 * text),
        }
        tensors |= {"image_proj.norm.weight": torch.ones(text), "image_proj.norm.bias": torch.zeros(text)}
        for number, (name, _) in enumerate(unet.attn_processors.items()):
            if "attn2" in name:
                module = unet.get_submodule(name.removesuffix(".processor"))
                for part in ("to_k_ip", "to_v_ip"):
                    weight = torch.randn(module.to_k.weight.shape) * 0.3
                    tensors[f"ip_adapter.{number}.{part}.weight"] = weight
    file = folder / f"ip-adapter_{_detect_family(unet)}.safetensors"
    save_file(tensors, file)
    return WeightFile(
        name=file.stem, kind=WeightKind.IP_ADAPTER, path=file, bytes=file.stat().st_size, family=_detect_family(unet)
    )


def save_network(net: Any, folder: Path, family: str, kind: WeightKind = WeightKind.CONTROLNET) -> WeightFile:
    net.save_pretrained(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    return WeightFile(name=folder.name, kind=kind, path=folder, bytes=size, family=family)


def _detect_family(unet: Any) -> str:
    return "sdxl" if unet.config.addition_embed_type == "text_time" else "sd15"

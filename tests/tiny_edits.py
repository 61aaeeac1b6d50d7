"""Tiny random-weight checkpoints that were made for images: masks (nine channels, FLUX Fill) and instructions (pix2pix,
Kontext)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny_families import make_tiny_flux
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl


def make_tiny_inpaint(folder: Path, *, xl: bool = False) -> Path:
    """A checkpoint with a UNet of nine input channels: latents, mask and masked image."""
    return _save_widened(
        folder, 9, "StableDiffusionXLInpaintPipeline" if xl else "StableDiffusionInpaintPipeline", xl=xl
    )


def make_tiny_pix2pix(folder: Path, *, xl: bool = False) -> Path:
    """A checkpoint with a UNet of eight input channels: latents and image."""
    kind = "InstructPix2PixPipeline"
    return _save_widened(folder, 8, f"StableDiffusionXL{kind}" if xl else f"StableDiffusion{kind}", xl=xl)


def make_tiny_kontext(folder: Path) -> Path:
    """FLUX.1 Kontext: FLUX.1 dev's parts under another name."""
    make_tiny_flux(folder, guided=True)
    return _set_pipeline_class(folder, "FluxKontextPipeline")


def make_tiny_fill(folder: Path) -> Path:
    """FLUX.1 Fill, whose transformer takes mask and masked image beside the noise."""
    from diffusers import FluxTransformer2DModel

    make_tiny_flux(folder, guided=True)
    config = FluxTransformer2DModel.load_config(folder / "transformer")
    wide = {**config, "in_channels": 16 + 16 + 256, "out_channels": 16}  # noise, masked image, the mask's 16 × 16 px
    FluxTransformer2DModel.from_config(wide).save_pretrained(folder / "transformer")
    return _set_pipeline_class(folder, "FluxFillPipeline")


def _save_widened(folder: Path, channels: int, class_name: str, *, xl: bool) -> Path:
    import torch
    from diffusers import UNet2DConditionModel

    (make_tiny_sdxl if xl else make_tiny_sd15)(folder)
    unet = UNet2DConditionModel.load_config(folder / "unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wide: Any = UNet2DConditionModel.from_config({**unet, "in_channels": channels})
    wide.save_pretrained(folder / "unet")
    return _set_pipeline_class(folder, class_name)


def _set_pipeline_class(folder: Path, class_name: str) -> Path:
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": class_name}))
    return folder

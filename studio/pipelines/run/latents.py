"""Images as latents, and what stands in a mask's latents when drawing begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.request_parts import MaskedContent
from studio.pipelines.run import noise

if TYPE_CHECKING:
    import torch


def stretch_latents(
    pipe: Any, images: Sequence[Image.Image], size: tuple[int, int], seeds: Sequence[int]
) -> torch.Tensor:
    """RGB images of one size, encoded and interpolated (bilinear) to the latents of `size` px: (n, channels, h, w),
    scaled as the pipeline holds them."""
    import torch
    from torch.nn.functional import interpolate

    latents = torch.cat(
        [_encode_image(pipe, one, made) for one, made in zip(images, noise.make_generators(seeds), strict=True)]
    )
    factor = images[0].width // latents.shape[-1]
    shape = (size[1] // factor, size[0] // factor)
    return interpolate(latents.float(), size=shape, mode="bilinear").to(latents.dtype)


def _encode_image(pipe: Any, image: Image.Image, generator: torch.Generator) -> torch.Tensor:
    """One image as (1, channels, h, w). The inverse of what Previewer does to show latents."""
    import torch

    vae, config = pipe.vae, pipe.vae.config
    kept = vae.dtype
    full = kept == torch.float16 and bool(config.get("force_upcast"))  # SDXL's own VAE overflows in half precision
    if full:
        vae.to(torch.float32)
    try:
        pixels = pipe.image_processor.preprocess(image).to(pipe._execution_device, vae.dtype)
        found = vae.encode(pixels.unsqueeze(2) if "z_dim" in config else pixels)
    finally:
        if full:
            vae.to(kept)
    latents = found.latent_dist.sample(generator) if hasattr(found, "latent_dist") else found[0]
    latents = (latents[:, :, 0] if latents.ndim == 5 else latents).to(kept)
    scale = config.get("scaling_factor") or 1.0
    mean, deviation = config.get("latents_mean"), config.get("latents_std")
    if mean and deviation:
        mean, deviation = (torch.tensor(one).view(1, -1, 1, 1).to(latents) for one in (mean, deviation))
        return (latents - mean) / deviation * scale
    return (latents - (config.get("shift_factor") or 0.0)) * scale


def fill_masked_latents(pipe: Any, masks: Sequence[Image.Image], fill: MaskedContent) -> None:
    """Let the run of `pipe` begin with noise, or nothing, under `masks` (L, one an image) instead of the image. `pipe`
    and its scheduler belong to this run alone."""
    if fill not in (MaskedContent.NOISE, MaskedContent.NOTHING):
        return

    def hide_masked(latents: torch.Tensor, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = _masks_to_latents(masks, latents)
        kept = latents * (1 - hidden)
        return (kept + hidden * drawn if fill is MaskedContent.NOISE else kept), drawn

    noise.patch_first_noise(pipe.scheduler, hide_masked)


def _masks_to_latents(masks: Sequence[Image.Image], latents: torch.Tensor) -> torch.Tensor:
    """The masks, 0 to 1, with as many axes as `latents`, of its height and width."""
    import numpy as np
    import torch

    height, width = latents.shape[-2:]
    small = [np.asarray(mask.resize((width, height), Image.Resampling.NEAREST), dtype=np.float32) for mask in masks]
    stacked = torch.from_numpy(np.stack(small) / 255).to(latents)
    return stacked.view(len(masks), *[1] * (latents.ndim - 3), height, width)

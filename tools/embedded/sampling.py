"""Drawing many prompts with the pipeline, for looking and for measuring."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image

from .paths import PICTURE_SIZE

STEPS = 16
GUIDANCE = 3.0


def generate(pipeline: StableDiffusionPipeline, prompts: list[str], seeds: list[int], batch: int = 32) -> np.ndarray:
    """Draw each prompt with its seed at the training size.

    Returns:
        uint8 RGB [N, S, S, 3].
    """
    pictures = []
    for begin in range(0, len(prompts), batch):
        part = prompts[begin : begin + batch]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[begin : begin + batch]]
        result: Any = pipeline(
            part,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            width=PICTURE_SIZE,
            height=PICTURE_SIZE,
            generator=generators,
            output_type="np",
        )
        pictures.append((np.asarray(result.images) * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def grid(pictures: np.ndarray, columns: int) -> Image.Image:
    """Lay pictures uint8 [N, S, S, 3] out in rows with a thin grey line between them."""
    side, gap = pictures.shape[1], 2
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) - gap, rows * (side + gap) - gap), (190, 190, 190))
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        sheet.paste(Image.fromarray(picture), (column * (side + gap), row * (side + gap)))
    return sheet

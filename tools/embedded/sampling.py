"""Drawing many prompts with the pipeline, for looking and for measuring."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from .paths import IMAGE_SIZE

STEPS = 16
GUIDANCE = 3.0


def generate_images(
    pipeline: Any, prompts: list[str], seeds: list[int], batch: int = 32, lines: np.ndarray | None = None
) -> np.ndarray:
    """Draw each prompt with its seed at the training size.

    Args:
        pipeline: A StableDiffusionPipeline, or with lines a StableDiffusionControlNetPipeline.
        prompts: What to draw.
        seeds: As many seeds.
        batch: How many are drawn at once.
        lines: As many edge maps to follow, bool [N, S, S].

    Returns:
        uint8 RGB [N, S, S, 3].
    """
    images = []
    for begin in range(0, len(prompts), batch):
        part = prompts[begin : begin + batch]
        control = {} if lines is None else {"image": to_control_images(lines[begin : begin + batch])}
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[begin : begin + batch]]
        result: Any = pipeline(
            part,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            width=IMAGE_SIZE,
            height=IMAGE_SIZE,
            generator=generators,
            output_type="np",
            **control,
        )
        images.append((np.asarray(result.images) * 255).round().astype(np.uint8))
    return np.concatenate(images)


def to_control_images(lines: np.ndarray) -> torch.Tensor:
    """Turn edge maps, bool [N, S, S], into what a ControlNet takes: white on black, float32 RGB 0..1, [N, 3, S, S]."""
    return torch.from_numpy(lines).float()[:, None].expand(-1, 3, -1, -1).contiguous()


def draw_grid(images: np.ndarray, columns: int) -> Image.Image:
    """Lay images uint8 [N, S, S, 3] out in rows with a thin grey line between them."""
    side, gap = images.shape[1], 2
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) - gap, rows * (side + gap) - gap), (190, 190, 190))
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        sheet.paste(Image.fromarray(image), (column * (side + gap), row * (side + gap)))
    return sheet

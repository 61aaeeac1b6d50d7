"""CFG++: guidance by a small scale, the noise that is added back without it (arXiv:2406.08070)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from studio.pipelines.unet_forward import replace_forward

SCALE_SHARE = 1 / 12.5
"""AUTOMATIC1111's: a CFG scale of 12.5 is CFG++'s 1."""


@contextmanager
def split_guidance(unet: Any, scheduler: Any, images: int) -> Iterator[None]:
    """Within the block `unet` answers so that a pipeline guides by `SCALE_SHARE` of its scale, and `scheduler` hears
    what the answer is without the prompt.

    Batches of `images` alone are not guided, and stay: CFG++ is DDIM then.
    """
    with replace_forward(unet, _build_split_forward(unet.forward, scheduler, images)):
        yield


def _build_split_forward(forward: Any, scheduler: Any, images: int) -> Any:
    def forward_split(sample: Any, timestep: Any, *, return_dict: bool = True, **rest: Any) -> Any:
        import torch

        answer = forward(sample, timestep, return_dict=False, **rest)[0]
        if answer.shape[0] == 2 * images:
            negative, positive = answer.float().chunk(2)  # half precision would lose what the share leaves
            scheduler.unguided = negative
            answer = torch.cat([negative, negative + SCALE_SHARE * (positive - negative)])
        if not return_dict:
            return (answer,)
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=answer)

    return forward_split

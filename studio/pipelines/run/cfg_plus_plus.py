"""CFG++: guidance by a small scale, the noise that is added back without it (arXiv:2406.08070)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from studio.pipelines.network_forward import replace_forward

_RAISED = 2.0


def raise_guidance(unet: Any, guidance: float) -> float:
    """The scale to call a pipeline with so that it asks `unet` without the prompt too: pipelines do above 1 alone, and
    CFG++ is used with scales up to 1. A UNet that reads the scale itself stays with its own."""
    reads_scale = unet.config.time_cond_proj_dim is not None
    return guidance if guidance > 1 or reads_scale else _RAISED


@contextmanager
def split_guidance(unet: Any, scheduler: Any, images: int, guidance: float) -> Iterator[None]:
    """Within the block `unet` answers so that a pipeline that is called with the raised scale guides by `guidance` as
    the scheduler's sampler counts it, and `scheduler` hears what the answer is without the prompt.

    Batches of `images` alone are not guided, and stay: without guidance CFG++ is the plain sampler.
    """
    raised = raise_guidance(unet, guidance)
    share = scheduler.guidance_share * guidance / raised if raised else 1.0
    with replace_forward(unet, _build_split_forward(unet.forward, scheduler, images, share)):
        yield


def _build_split_forward(forward: Any, scheduler: Any, images: int, share: float) -> Any:
    def forward_split(sample: Any, timestep: Any, *, return_dict: bool = True, **rest: Any) -> Any:
        import torch

        answer = forward(sample, timestep, return_dict=False, **rest)[0]
        if answer.shape[0] == 2 * images:
            negative, positive = answer.float().chunk(2)  # half precision would lose what the share leaves
            scheduler.unguided = negative
            answer = torch.cat([negative, negative + share * (positive - negative)])
        if not return_dict:
            return (answer,)
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=answer)

    return forward_split

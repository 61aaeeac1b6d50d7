"""Guidance whose spread is brought back to that of the prompt's own prediction, against washed-out or burnt images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from studio.pipelines.network_forward import replace_forward


@contextmanager
def rescale_guidance(unet: Any, guidance: float, share: float, images: int) -> Iterator[None]:
    """Within the block `unet` answers so that a pipeline that guides by `guidance` gets the rescaled result: by
    `share`, 0 to 1, as in section 3.4 of "Common Diffusion Noise Schedules and Sample Steps are Flawed" (Lin et al.,
    2023).

    Batches of `images` alone are not guided, and stay.
    """
    with replace_forward(unet, _build_rescaled_forward(unet.forward, guidance, share, images)):
        yield


def _build_rescaled_forward(forward: Any, guidance: float, share: float, images: int) -> Any:
    def forward_rescaled(sample: Any, timestep: Any, *, return_dict: bool = True, **rest: Any) -> Any:
        import torch

        answer = forward(sample, timestep, return_dict=False, **rest)[0]
        if answer.shape[0] == 2 * images and guidance > 1:
            negative, positive = answer.chunk(2)
            guided = negative + guidance * (positive - negative)
            over = tuple(range(1, guided.ndim))
            spread = positive.std(dim=over, keepdim=True) / guided.std(dim=over, keepdim=True).clamp(min=1e-8)
            wanted = guided * (share * spread + 1 - share)
            answer = torch.cat([negative, negative + (wanted - negative) / guidance])
        if not return_dict:
            return (answer,)
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=answer)

    return forward_rescaled

"""Dynamic thresholding: guidance by a high scale whose predictions spread no further than a lower scale's would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from studio.core.request import GenerationRequest
from studio.pipelines.network_forward import replace_forward
from studio.pipelines.run.clean_prediction import CleanPrediction


@contextmanager
def threshold_guidance(unet: Any, scheduler: Any, request: GenerationRequest, images: int) -> Iterator[None]:
    """Within the block `unet` answers so that a pipeline that guides by `request.guidance` gets predictions of the
    clean image that are limited as the extension sd-dynamic-thresholding does it with constant scales.

    Batches of `images` alone are not guided, and stay.
    """
    with replace_forward(unet, _build_thresholded_forward(unet.forward, scheduler, request, images)):
        yield


def _build_thresholded_forward(forward: Any, scheduler: Any, request: GenerationRequest, images: int) -> Any:
    prediction, guidance = CleanPrediction(scheduler), request.guidance or 1.0

    def forward_thresholded(sample: Any, timestep: Any, *, return_dict: bool = True, **rest: Any) -> Any:
        import torch

        answer = forward(sample, timestep, return_dict=False, **rest)[0]
        if answer.shape[0] == 2 * images and guidance > 1:
            level = prediction.find_level(timestep)
            latents = sample[:images, : answer.shape[1]].float()
            negative, positive = answer.float().chunk(2)
            without, prompted = (prediction.predict_clean(latents, one, level) for one in (negative, positive))
            limited = _limit_guidance(without, prompted, guidance, request.mimic_scale, request.threshold_percentile)
            wanted = prediction.find_answer(latents, limited, level)
            answer = torch.cat([negative, negative + (wanted - negative) / guidance]).to(answer.dtype)
        if not return_dict:
            return (answer,)
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=answer)

    return forward_thresholded


def _limit_guidance(negative: Any, positive: Any, guidance: float, mimicked: float, percentile: float) -> Any:
    """The guided prediction, its spread about the mean of each channel brought to that of guidance by `mimicked`;
    what lies beyond the percentile (in per cent) is clamped."""
    import torch

    guided, wanted = ((negative + scale * (positive - negative)).flatten(2) for scale in (guidance, mimicked))
    middle = guided.mean(dim=2, keepdim=True)
    guided = guided - middle
    peak = (wanted - wanted.mean(dim=2, keepdim=True)).abs().amax(dim=2, keepdim=True)
    reach = torch.quantile(guided.abs(), percentile / 100, dim=2, keepdim=True)
    reach = torch.maximum(peak, reach).clamp(min=1e-8)
    return (guided.clamp(-reach, reach) / reach * peak + middle).reshape(negative.shape)

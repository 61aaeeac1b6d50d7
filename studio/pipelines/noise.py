"""Noise that belongs to the picture and not to its batch: drawn on the CPU, one generator a picture."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from studio.core.ports import PictureSeed

if TYPE_CHECKING:
    import torch


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per seed. diffusers draws a picture's first noise and that of every ancestral step from its own."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def prepare(pipe: Any, seeds: Sequence[PictureSeed], strength: float) -> list[torch.Generator]:
    """The generators to call `pipe` with, so that each picture is the same alone and in a batch.

    `pipe` and its scheduler must belong to this run alone: a variation (`strength` above 0) and the seeds of Brownian
    noise are put into them.
    """
    main = generators([seed.seed for seed in seeds])
    if hasattr(pipe.scheduler, "noise_sampler_seed"):
        pipe.scheduler.noise_sampler_seed = [seed.seed for seed in seeds]
    if strength > 0 and all(seed.variation is not None for seed in seeds):
        _vary(pipe, generators([seed.variation for seed in seeds if seed.variation is not None]), strength)
    return main


def slerp(low: torch.Tensor, high: torch.Tensor, fraction: float) -> torch.Tensor:
    """From `low` to `high` along the arc, column by column (the last axis but one) as AUTOMATIC1111 does, so that its
    variations come out the same. Where the two agree, `low` stays."""
    import torch

    a, b = low.float(), high.float()
    lengths = a.norm(dim=-2, keepdim=True) * b.norm(dim=-2, keepdim=True)
    angle = torch.acos(((a * b).sum(dim=-2, keepdim=True) / lengths).clamp(-1, 1))
    sine = torch.sin(angle)
    mixed = (torch.sin((1 - fraction) * angle) * a + torch.sin(fraction * angle) * b) / sine
    return torch.where(sine < 1e-4, a, mixed).to(low.dtype)


def _vary(pipe: Any, others: list[torch.Generator], strength: float) -> None:
    """Lean the first noise of the run towards the one that `others` draw."""
    parameters = inspect.signature(pipe.prepare_latents).parameters
    if "image" in parameters:
        for name in ("add_noise", "scale_noise"):
            if hasattr(pipe.scheduler, name):
                _vary_added_noise(pipe.scheduler, name, others, strength)
        return
    draw, signature = pipe.prepare_latents, inspect.signature(pipe.prepare_latents)

    def prepare_latents(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        first = draw(*bound.args, **bound.kwargs)
        bound.arguments["generator"] = others
        second = draw(*bound.args, **bound.kwargs)
        if isinstance(first, tuple):  # packed families return position ids beside the latents
            return slerp(first[0], second[0], strength), *first[1:]
        return slerp(first, second, strength)

    pipe.prepare_latents = prepare_latents


def _vary_added_noise(scheduler: Any, name: str, others: list[torch.Generator], strength: float) -> None:
    """img2img adds its first noise through the scheduler: the noise is the argument of that name."""
    from diffusers.utils.torch_utils import randn_tensor

    add = getattr(scheduler, name)
    signature = inspect.signature(add)

    def varied(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        noise: torch.Tensor = bound.arguments["noise"]
        other = randn_tensor(noise.shape, generator=others, device=noise.device, dtype=noise.dtype)
        bound.arguments["noise"] = slerp(noise, other, strength)
        return add(*bound.args, **bound.kwargs)

    setattr(scheduler, name, varied)

"""Noise that belongs to the image and not to its batch: drawn on the CPU, one generator an image."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest
from studio.core.request_choices import NoiseSource
from studio.pipelines.run.image_noise import ImageNoise, NoiseAnswers, slerp

if TYPE_CHECKING:
    import torch


def make_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per seed. diffusers draws an image's first noise and that of every ancestral step from its
    own."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def prepare_generators(pipe: Any, seeds: Sequence[ImageSeed], request: GenerationRequest) -> list[torch.Generator]:
    """The generators to call `pipe` with, so that each image is the same alone and in a batch.

    `pipe` and its scheduler must belong to this run alone: a variation, another noise source and the seeds of Brownian
    noise are put into them.
    """
    main = make_generators([seed.seed for seed in seeds])
    if hasattr(pipe.scheduler, "noise_sampler_seed"):
        pipe.scheduler.noise_sampler_seed = [seed.seed for seed in seeds]
    strength = request.variation_strength
    if request.noise_source is not NoiseSource.CPU or request.noise_seed_delta or request.seed_resize:
        _draw_elsewhere(pipe, seeds, request, main)
    elif strength > 0 and all(seed.variation is not None for seed in seeds):
        _vary_first_noise(
            pipe, make_generators([seed.variation for seed in seeds if seed.variation is not None]), strength
        )
    return main


def _draw_elsewhere(
    pipe: Any, seeds: Sequence[ImageSeed], request: GenerationRequest, generators: Sequence[torch.Generator]
) -> None:
    """Let all noise of the run come from the request's noise source. What a VAE draws stays as it is."""
    noises = [ImageNoise(seed, request, getattr(pipe, "vae_scale_factor", 8)) for seed in seeds]
    answers = NoiseAnswers(noises, generators, request.noise_source)
    if request.noise_source is NoiseSource.COMFYUI and hasattr(pipe.scheduler, "batch_positions"):
        pipe.scheduler.batch_positions = [seed.batch_index for seed in seeds]

    def draw_first(noise: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.stack([one.draw_first(tuple(noise.shape[1:])) for one in noises]).to(noise)

    if not _change_added_noise(pipe, draw_first):
        pipe.prepare_latents = answers.apply(pipe.prepare_latents)
    pipe.scheduler.step = answers.apply(pipe.scheduler.step)


def _change_added_noise(pipe: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Where the pipeline adds its first noise to an image, let it be what `change` makes of it; False elsewhere."""
    draw, signature = pipe.prepare_latents, inspect.signature(pipe.prepare_latents)
    if "timestep" not in signature.parameters:
        return False
    patch_first_noise(pipe.scheduler, lambda latents, noise: (latents, change(noise)))
    if "is_strength_max" in signature.parameters:  # inpainting at full strength would not ask the scheduler
        pipe.prepare_latents = functools.partial(_draw_through_scheduler, draw, signature)
    return True


def _vary_first_noise(pipe: Any, others: list[torch.Generator], strength: float) -> None:
    """Lean the first noise of the run towards the one that `others` draw."""
    if _change_added_noise(pipe, lambda noise: _blend_noise(noise, others, strength)):
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


def patch_first_noise(scheduler: Any, change: Callable[[torch.Tensor, torch.Tensor], tuple[Any, Any]]) -> None:
    """img2img and inpainting add their first noise through the scheduler: let the latents and the noise of that call be
    what `change` makes of them, before the changes that are there already. Inpainting adds noise again later, to what
    is not masked; that is left as it is."""
    name = "scale_noise" if hasattr(scheduler, "scale_noise") else "add_noise"
    add = getattr(scheduler, name)
    signature = inspect.signature(add)
    latents = next(iter(signature.parameters))  # "original_samples" or "sample"

    @functools.wraps(add)  # with its signature, for the next change
    def add_changed_noise(*args: Any, **kwargs: Any) -> Any:
        setattr(scheduler, name, add)
        given = signature.bind(*args, **kwargs).arguments
        given[latents], given["noise"] = change(given[latents], given["noise"])
        return add(**given)

    setattr(scheduler, name, add_changed_noise)


def _draw_through_scheduler(draw: Callable[..., Any], signature: inspect.Signature, *args: Any, **kwargs: Any) -> Any:
    bound = signature.bind(*args, **kwargs)
    bound.arguments["is_strength_max"] = False
    return draw(*bound.args, **bound.kwargs)


def _blend_noise(noise: torch.Tensor, others: list[torch.Generator], strength: float) -> torch.Tensor:
    from diffusers.utils.torch_utils import randn_tensor

    return slerp(noise, randn_tensor(noise.shape, generator=others, device=noise.device, dtype=noise.dtype), strength)

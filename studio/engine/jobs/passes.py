"""Split a request into its images, each with its own seed, and group them into passes."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from studio.core.grid import expand_cells
from studio.core.ports import ImageSeed
from studio.core.prompt_texts import put_texts
from studio.core.request import MAX_SEED, GenerationRequest
from studio.core.request_choices import NoiseSource


@dataclass(frozen=True, kw_only=True)
class PlannedImage:
    """One image of a job. `request` asks for it (and may ask for others of its pass too)."""

    index: int
    request: GenerationRequest
    seed: ImageSeed


def make_random_seed() -> int:
    """0 to 2**32-1, which every program reads."""
    return secrets.randbelow(2**32)


def plan_images(request: GenerationRequest) -> list[PlannedImage]:
    """The images of `request` in their order: one per count and source, or one per cell of a grid. Seeds count on from
    source to source, so that no two sources get the same noise.

    Raises:
        InvalidRequest: the axes make no grid.
    """
    if not request.axes:
        sources = request.batch or (request.source,)
        own = [request.replace(source=source, batch=(), drawn=()) for source in sources]
        return [
            PlannedImage(
                index=number * request.count + k,
                request=_put_drawn_texts(one, request, k),
                seed=make_image_seed(one, number * request.count + k),
            )
            for number, one in enumerate(own)
            for k in range(request.count)
        ]
    return [
        PlannedImage(index=k, request=_put_drawn_texts(cell.request, request, k), seed=make_image_seed(cell.request, 0))
        for k, cell in enumerate(expand_cells(request))
    ]


def count_images(request: GenerationRequest) -> int:
    """How many images `plan_images` gives, without building their requests; raises as it does."""
    if request.axes:
        return len(plan_images(request))
    return request.count * max(1, len(request.batch))


def _put_drawn_texts(one: GenerationRequest, request: GenerationRequest, k: int) -> GenerationRequest:
    """`one`, image `k` of `request`, with the texts that were drawn for it."""
    return put_texts(one, request.drawn[k]) if k < len(request.drawn) else one


def make_image_seed(request: GenerationRequest, k: int) -> ImageSeed:
    """The seeds of image `k`, counted from 0."""
    seed = make_random_seed() if request.seed is None else request.seed
    together = request.noise_source is NoiseSource.COMFYUI
    place = request.batch_index + k if together else 0
    if request.variation_strength > 0:
        variation = make_random_seed() if request.variation_seed is None else request.variation_seed
        return ImageSeed(seed=seed, variation=(variation + k) % (MAX_SEED + 1), batch_index=place)
    return ImageSeed(seed=seed if together else (seed + k) % (MAX_SEED + 1), batch_index=place)


def take_first_pass(images: Sequence[PlannedImage]) -> list[PlannedImage]:
    """The images at the head of `images` that go through the model together."""
    size = images[0].request.batch_size
    return [image for image in images[:size] if image.request == images[0].request]

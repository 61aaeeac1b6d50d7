"""How much is generated for a request: of images that are composed of several things, each thing is an image too."""

from __future__ import annotations

from collections import Counter

from studio.core.request import GenerationRequest
from studio.engine.jobs.passes import count_images, plan_images
from studio.engine.models.model_list import Models


def count_generations(request: GenerationRequest, models: Models, fallback: str) -> int:
    """How many images are generated for all images of `request`, in which its model and seed are fixed. Where a model
    is not there, the first of the request's own fallbacks generates, else the model called `fallback` ("" for none).

    Raises:
        InvalidRequest: the axes make no grid, or a prompt cannot be read.
    """
    if not request.compose:
        return count_images(request)
    fallback = request.fallbacks[0] if request.fallbacks else fallback
    alike = Counter(image.request for image in plan_images(request))
    return sum(models.count_generations(one, fallback) * number for one, number in alike.items())

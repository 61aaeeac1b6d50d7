"""Fitting a request to another model, for jobs whose own model fails."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from studio.core.errors import InvalidRequest, StudioError
from studio.core.model import Feature, Model, get_enlarged_size
from studio.core.request import GenerationRequest

_STRUCTURED_FIELDS: Mapping[Feature, dict[str, object]] = {
    Feature.LORA: {"loras": ()},
    Feature.HIRES: {"hires": None},
    Feature.DETAILER: {"detailers": ()},
    Feature.REGIONS: {"areas": ()},
    Feature.CONTROL: {"control": ()},
    Feature.REFERENCE: {"references": ()},
    Feature.COMPOSE: {"composed": None},
}
# A seed stays although the model passes over it: the recipe then keeps what was requested.
_KEPT_FEATURES = frozenset({Feature.SEED})
_LEAST_TIMES = 1.5  # the side that a model was trained at to that of a size: such small ones are drawn larger


def adapt(request: GenerationRequest, model: Model) -> GenerationRequest:
    """`request` for `model`: what it cannot do is left to its default, the size keeps its shape within its limits. What
    one of both draws small and enlarges, the other draws as large as that.

    What belongs to one model only (VAE, LoRAs of another family) is dropped too.

    Raises:
        InvalidRequest: the model cannot do it even so, an unknown task for example.
    """
    request = _follow_enlarging(request, model)
    changes: dict[str, object] = {"model": model.id, "vae": None, "refiner": None}
    if not request.axes:
        changes["loras"] = ()
    for feature, unset in _STRUCTURED_FIELDS.items():
        if feature not in model.features:
            changes.update(unset)
    lacks = frozenset(Feature) - model.features - _KEPT_FEATURES
    changes.update({spec.name: spec.unset for spec in request.FIELDS if spec.feature in lacks})
    adapted = request.replace(**changes)
    if not _can_use_sampler(adapted, model):
        adapted = adapted.replace(sampler=None, schedule=None)
    adapted = _fit_size(adapted, model)
    if adapted.hires is not None and not _can_draw_size(adapted, model):
        adapted = adapted.replace(hires=None)
    adapted = adapted.replace(
        batch_size=min(adapted.batch_size, model.max_batch), count=min(adapted.count, model.max_count)
    )
    model.check(adapted if Feature.SEED in model.features else adapted.replace(seed=None))
    return adapted


def format_fallback_notice(failed: str, model: Model, failure: StudioError) -> str:
    """The notice when `model` replaces the one called `failed`."""
    return f"Made with {model.title} instead of {failed}: {failure.message}"


def _follow_enlarging(request: GenerationRequest, model: Model) -> GenerationRequest:
    """`request` at the size at which `model` draws, and enlarges where it brings a network for that, what another model
    would have done otherwise."""
    size = (request.width, request.height) if request.width and request.height else None
    if request.enlarge and Feature.ENLARGE not in model.features and size is not None:
        width, height = _raise_size(get_enlarged_size(request, size), model)
        return request.replace(enlarge=False, enlarged_size="", width=width, height=height)
    if request.enlarge or not model.may_enlarge(request):
        return request
    if size is not None:
        return model.plan_enlarging(request, *size) or request
    return request if request.width or request.height else request.replace(enlarge=True)


def _raise_size(size: tuple[int, int], model: Model) -> tuple[int, int]:
    """`size`, (width, height) in px, or where that is much smaller than what `model` was trained at, its shape at the
    area of that."""
    trained = math.prod(model.sizes.liked[0]) if model.sizes.liked else 0
    times = max(1.0, math.sqrt(trained / math.prod(size)))
    return size if times < _LEAST_TIMES else model.sizes.find_nearest_size(*(round(side * times) for side in size))


def _fit_size(request: GenerationRequest, model: Model) -> GenerationRequest:
    """The nearest size of the same shape that `model` can draw; an unset size stays unset."""
    plain = request.replace(hires=None)
    if _can_draw_size(plain, model):
        return request
    if request.width is None or request.height is None:
        return request.replace(width=None, height=None)
    width, height = model.sizes.find_nearest_size(request.width, request.height)
    fitted = request.replace(width=width, height=height)
    return (
        fitted
        if _can_draw_size(fitted.replace(hires=None), model)
        else request.replace(width=None, height=None, aspect=None)
    )


def _can_draw_size(request: GenerationRequest, model: Model) -> bool:
    """Whether the sizes of `request` are within the model's limits."""
    sizes_only = GenerationRequest(
        task=request.task, width=request.width, height=request.height, aspect=request.aspect, hires=request.hires
    )
    if sizes_only.hires is not None:
        sizes_only = sizes_only.replace(hires=dataclasses.replace(sizes_only.hires, sampler=None, schedule=None))
    return _can_accept(sizes_only, model)


def _can_use_sampler(request: GenerationRequest, model: Model) -> bool:
    return _can_accept(GenerationRequest(task=request.task, sampler=request.sampler, schedule=request.schedule), model)


def _can_accept(request: GenerationRequest, model: Model) -> bool:
    try:
        model.check(request)
    except InvalidRequest:
        return False
    return True

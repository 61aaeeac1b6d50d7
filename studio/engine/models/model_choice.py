"""Choose a model by quality and price, and its fallbacks when it cannot be reached."""

from __future__ import annotations

from collections.abc import Callable

from studio.core.errors import InvalidRequest, StudioError, UnknownModel
from studio.core.model import Model, Quality
from studio.core.model_ids import AUTO_PREFIX
from studio.core.request import GenerationRequest
from studio.engine.models.model_list import Models

_ORDER = tuple(Quality)
_MAX_CANDIDATES = 5  # models that are tried one after the other


def choose_model(
    request: GenerationRequest, models: Models, price: Callable[[GenerationRequest], float | None]
) -> GenerationRequest:
    """`request` with "auto:draft" … "auto:best" replaced by the cheapest model of that quality that can carry it out,
    and the next ones as its fallbacks. Where no model has the quality, the nearest above and then below is taken.

    Raises:
        InvalidRequest: no such quality. UnknownModel: nothing can carry the request out.
    """
    if not request.model.startswith(AUTO_PREFIX):
        return request
    wanted = request.model.removeprefix(AUTO_PREFIX)
    if wanted not in _ORDER:
        raise InvalidRequest(f"Unknown quality {wanted!r}.", hint="There are: " + ", ".join(_ORDER) + ".")
    able = [model for model in models.all() if _can_render(model, request)]
    if not able:
        raise UnknownModel(
            f"No available model supports this {request.task.value.replace('_', ' ')}.",
            hint="Clear special fields, or enter a provider's key in Configurations.",
        )
    place = _ORDER.index(Quality(wanted))

    def rank(model: Model) -> tuple[int, float]:
        distance = _ORDER.index(model.quality) - place
        cost = price(request.replace(model=model.id, fallbacks=()))
        return (distance if distance >= 0 else len(_ORDER) - distance, float("inf") if cost is None else cost)

    best = sorted(able, key=rank)
    return request.replace(model=best[0].id, fallbacks=tuple(model.id for model in best[1:_MAX_CANDIDATES]))


def _can_render(model: Model, request: GenerationRequest) -> bool:
    try:
        model.check(request.replace(model=model.id, fallbacks=()))
    except StudioError:
        return False
    return True

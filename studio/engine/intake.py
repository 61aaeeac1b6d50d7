"""Taking a request in: its model found and asked, its seed fixed, its pictures counted, all before any wait and any cost."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.errors import InvalidRequest, ModelBroken, UnknownModel
from studio.core.model import Feature, Model
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.engine.fallback import adapt, notice
from studio.engine.models import Models
from studio.engine.plan import Picture, plan, random_seed


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A request that can be carried out. `notes` say what was changed to make it so."""

    request: GenerationRequest
    model: Model
    pictures: int
    notes: tuple[str, ...] = ()


def accept(request: GenerationRequest, models: Models, settings: Settings) -> Accepted:
    """`request` with its model and seed fixed. A model that is missing or broken gives way to the fallback model.

    Raises:
        UnknownModel, ModelBroken, InvalidRequest: it cannot be carried out.
    """
    named = request if request.model else request.replace(model=models.default(settings.default_model).id)
    try:
        _, model = models.find(named.model)
        model.check(named)
        notes: tuple[str, ...] = ()
    except (UnknownModel, ModelBroken) as failure:
        if settings.fallback_model in ("", named.model):
            raise
        _, model = models.find(settings.fallback_model)
        notes = (notice(named.model, model, failure),)
        named = adapt(named, model)
    fixed = _with_seed(named, model)
    pictures = plan(fixed)
    if fixed.axes:
        _check_cells(pictures, model, models, settings)
    return Accepted(request=fixed, model=model, pictures=len(pictures), notes=notes)


def _with_seed(request: GenerationRequest, model: Model) -> GenerationRequest:
    if request.seed is None and Feature.SEED in model.features:
        request = request.replace(seed=random_seed())
    if request.variation_strength > 0 and request.variation_seed is None:
        request = request.replace(variation_seed=random_seed())
    return request


def _check_cells(pictures: list[Picture], model: Model, models: Models, settings: Settings) -> None:
    for picture in pictures:
        try:
            _, own = models.find(picture.request.model)
            own.check(picture.request)
        except (UnknownModel, ModelBroken):
            if not settings.fallback_model:
                raise
            continue
        if own.lane != model.lane:
            raise InvalidRequest(
                f"The grid mixes {model.title} with {own.title}, which run in different places.",
                hint="Make a grid of local models, or of one service's.",
            )

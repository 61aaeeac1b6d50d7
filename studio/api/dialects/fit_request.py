"""Fitting what clients send, who fill in every field with a default of their own, to the model that is to draw it."""

from __future__ import annotations

from studio.core.feature import Feature
from studio.core.model import Model
from studio.core.request import GenerationRequest


def fit_to_model(request: GenerationRequest, model: Model) -> tuple[GenerationRequest, tuple[str, ...]]:
    """`request` without the plain fields that `model` does not have and in a size that it can draw, and sentences that
    say what was changed. What a client asks for on purpose (hires pass, ControlNets, LoRAs) stays, to be refused."""
    notes: list[str] = []
    lacks = frozenset(Feature) - model.features - {Feature.SEED, Feature.PROMPT_SYNTAX}
    changes = {
        spec.name: spec.unset
        for spec in request.FIELDS
        if spec.feature in lacks and spec.is_set(getattr(request, spec.name))
    }
    if changes:
        notes.append(f"{model.title} does not support: {', '.join(sorted(changes))}.")
    if Feature.SEED not in model.features and request.seed is not None:
        changes["seed"] = None
    request = request.replace(**changes)
    if request.width is not None and request.height is not None and request.task.is_generative:
        size = _fit_size(request.width, request.height, model)
        if size != (request.width, request.height):
            notes.append(f"The size is {size[0]}×{size[1]}, which {model.title} can draw.")
            request = request.replace(width=size[0], height=size[1])
    table = model.sampling.combinations
    if table and request.sampler is not None and request.sampler not in table:
        notes.append(f"{model.title} has no sampler {request.sampler}; its own is used.")
        request = request.replace(sampler=None, schedule=None)
    sampler = request.sampler or model.sampling.sampler
    if table and request.schedule is not None and request.schedule not in table.get(sampler, (request.schedule,)):
        request = request.replace(schedule=None)
        notes.append(f"{sampler} has no such schedule; its own is used.")
    return request, tuple(notes)


def _fit_size(width: int, height: int, model: Model) -> tuple[int, int]:
    """That size as it is where the model can draw it, rounded down to its multiple, or the nearest that it can."""
    rounded = model.sizes.round_down(width), model.sizes.round_down(height)
    return rounded if model.sizes.allows(*rounded) else model.sizes.find_nearest_size(width, height)

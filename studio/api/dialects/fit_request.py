"""Fitting what clients send, who fill in every field with a default of their own, to the model that is to draw it."""

from __future__ import annotations

import dataclasses
import math

from studio.core.feature import Feature
from studio.core.model import ENLARGEMENT, Model, can_be_enlarged
from studio.core.request import GenerationRequest
from studio.core.task import Task


def fit_to_model(
    request: GenerationRequest, model: Model, *, is_own: bool = False
) -> tuple[GenerationRequest, tuple[str, ...]]:
    """`request` without the plain fields that `model` does not have and in a size that it can draw, and sentences that
    say what was changed. What a client asks for on purpose (hires pass, ControlNets, LoRAs) stays, to be refused. With
    `is_own` the request is that of an image made here, which says itself how it is composed and enlarged."""
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
    if request.task is Task.TXT2IMG and model.sampling.compose and not is_own:
        request = request.replace(compose=True, scenery=model.sampling.scenery)  # no client can ask for it
    smaller = None if is_own else _find_size_to_enlarge(request, model)
    if smaller is not None:
        notes.append(f"Generated at {smaller[0]}×{smaller[1]}, near the size that {model.title} knows, and enlarged.")
        request = request.replace(width=smaller[0], height=smaller[1], enlarge=True)
    sampler, schedule, more = _fit_sampling(request.sampler, request.schedule, model)
    request = request.replace(sampler=sampler, schedule=schedule)
    hires = request.hires
    if hires is not None and hires.model is None:
        second, schedule, others = _fit_sampling(hires.sampler, hires.schedule, model, first=request.sampler)
        request = request.replace(hires=dataclasses.replace(hires, sampler=second, schedule=schedule))
        more += [note for note in others if note not in more]
    return request, (*notes, *more)


def _fit_sampling(
    sampler: str | None, schedule: str | None, model: Model, *, first: str | None = None
) -> tuple[str | None, str | None, list[str]]:
    """(sampler, schedule, what was changed) of a pass; without a sampler it has that of the first pass, or the model's
    own."""
    table = model.sampling.combinations
    if table and sampler is not None and sampler not in table:
        return None, None, [f"{model.title} has no sampler {sampler}; its own is used."]
    used = sampler or first or model.sampling.sampler
    if table and schedule is not None and schedule not in table.get(used, (schedule,)):
        return sampler, None, [f"{used} has no such schedule; its own is used."]
    return sampler, schedule, []


def _find_size_to_enlarge(request: GenerationRequest, model: Model) -> tuple[int, int] | None:
    """The size of an image that the model's own network then enlarges to the one that is asked for; None where that
    one is nearer to what the model was trained at, or something else hangs on it."""
    width, height = request.width, request.height
    if not width or not height or not _can_enlarge(request, model):
        return None
    step = ENLARGEMENT * model.sizes.multiple
    smaller = width // ENLARGEMENT, height // ENLARGEMENT
    if width % step or height % step or not model.sizes.allows(*smaller):
        return None
    trained = math.prod(model.sizes.liked[0])
    is_nearer = abs(math.log(math.prod(smaller) / trained)) < abs(math.log(width * height / trained))
    return smaller if is_nearer else None


def _can_enlarge(request: GenerationRequest, model: Model) -> bool:
    """Whether the model's own network may enlarge what is drawn for `request`, and nothing else hangs on its size."""
    others = (request.enlarge, request.hires, request.axes, request.detailers, request.regions)
    return model.sampling.enlarge and can_be_enlarged(request.task) and not any(others)


def _fit_size(width: int, height: int, model: Model) -> tuple[int, int]:
    """That size as it is where the model can draw it, rounded down to its multiple, or the nearest that it can."""
    rounded = model.sizes.round_down(width), model.sizes.round_down(height)
    return rounded if model.sizes.allows(*rounded) else model.sizes.find_nearest_size(width, height)

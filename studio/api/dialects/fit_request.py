"""Fitting what clients send, who fill in every field with a default of their own, to the model that is to draw it."""

from __future__ import annotations

import dataclasses

from studio.core.feature import Feature
from studio.core.model import ENLARGEMENT, Model
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import User
from studio.engine.engine import Engine

Size = tuple[int, int]


def fit_to_model(
    request: GenerationRequest, model: Model, *, source: Size | None = None, is_own: bool = False
) -> tuple[GenerationRequest, tuple[str, ...]]:
    """`request` without the plain fields that `model` does not have and in a size that it can draw, and sentences that
    say what was changed. What a client asks for on purpose (hires pass, ControlNets, LoRAs) stays, to be refused.
    `source` is the (width, height) in px of the image that is worked on, if any. With `is_own` the request is that of
    an image made here, which says itself how it is composed and enlarged."""
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
    if request.task in (Task.TXT2IMG, Task.IMG2IMG) and model.sampling.compose and not is_own:
        scenery = model.sampling.scenery and request.task is Task.TXT2IMG
        request = request.replace(compose=True, scenery=scenery)  # no client can ask for it
    request, size_notes = _fit_size(request, model, source, is_own=is_own)
    notes += size_notes
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


def _fit_size(
    request: GenerationRequest, model: Model, source: Size | None, *, is_own: bool
) -> tuple[GenerationRequest, list[str]]:
    """`request` in a size that `model` draws well, and what was changed. Where the model brings a network for that, a
    larger image is drawn small and enlarged to the size that is asked for, or that of its source."""
    if not request.task.is_generative:
        return request, []
    named = (request.width, request.height) if request.width and request.height else None
    can_enlarge = not is_own and not request.enlarge and model.may_enlarge(request)
    wanted = named or (None if request.width or request.height or request.aspect else source)
    if request.aspect and not request.width and not request.height:
        width, height = model.sizes.fit_size(None, None, request.aspect)
        wanted = ENLARGEMENT * width, ENLARGEMENT * height
    if can_enlarge and wanted and (enlarged := model.plan_enlarging(request, *wanted)) is not None:
        drawn = f"{enlarged.width}×{enlarged.height}"
        return enlarged, [f"Generated at {drawn}, near the size that {model.title} knows, and enlarged."]
    if named is not None:
        size = _find_size(*named, model)
        if size == named:
            return request, []
        return request.replace(width=size[0], height=size[1]), [
            f"The size is {size[0]}×{size[1]}, which {model.title} can draw."
        ]
    if can_enlarge and request.task is Task.TXT2IMG and not request.width and not request.height:
        return request.replace(enlarge=True), [f"The image is enlarged by the network of {model.title}."]
    return request, []


def measure_source(request: GenerationRequest, engine: Engine, user: User) -> Size | None:
    """The (width, height) in px of the image that `request` of `user` works on, None where it has none.

    Raises:
        NotFound: it is gone.
    """
    if not request.source:
        return None
    kept = engine.get_input(request.source, user)
    return kept.width, kept.height


def _find_size(width: int, height: int, model: Model) -> Size:
    """That size as it is where the model can draw it, rounded down to its multiple, or the nearest that it can."""
    rounded = model.sizes.round_down(width), model.sizes.round_down(height)
    return rounded if model.sizes.allows(*rounded) else model.sizes.find_nearest_size(width, height)

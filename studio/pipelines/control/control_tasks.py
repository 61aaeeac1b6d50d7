"""Sketch, structure and style transfer as control units and references: what a checkpoint supports, and how it is
asked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from studio.core.errors import InvalidRequest
from studio.core.family_facts import ControlFacts
from studio.core.model import Feature, Model
from studio.core.ports import PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.control import control_files
from studio.pipelines.control.control_units import is_compatible

STYLE_STRENGTH = 0.6  # denoising strength of a style transfer that no ControlNet holds to the source's shapes
_KIND_WORDS = {
    "scribble": "scribble",
    "sketch": "scribble",
    "lineart": "lineart",
    "softedge": "softedge",
    "hed": "softedge",
    "pidi": "softedge",
    "canny": "canny",
    "edge": "canny",
    "edges": "canny",
    "depth": "depth",
    "mlsd": "mlsd",
    "normal": "normal",
}
"""Words in the names of ControlNets, and the control type that they mean."""
_SKETCH = {"scribble": "scribble_xdog", "lineart": "lineart_standard", "softedge": "softedge_hed", "canny": "canny"}
_STRUCTURE = {
    "canny": "canny",
    "softedge": "softedge_hed",
    "lineart": "lineart_standard",
    "mlsd": "lines",
    "scribble": "scribble_hed",
    "depth": "depth",
    "normal": "normal",
}
"""Control types that serve, the best first, and the preprocessor that each takes; those that need no download come
first."""
_NEEDED_FILES = {
    Task.SKETCH: "a ControlNet for scribbles, line art or edges",
    Task.STRUCTURE: "a ControlNet for edges, depth or line art",
    Task.STYLE_TRANSFER: "an IP-Adapter with its image encoder",
}


def find_control_files(
    checkpoint: WeightFile, spec: PipelineSpec, weights: Sequence[WeightFile]
) -> tuple[WeightFile, ...]:
    """The ControlNets, T2I-Adapters and IP-Adapters among `weights` that this checkpoint of the family can use."""
    if not spec.control.is_steerable:
        return ()
    steering = (WeightKind.CONTROLNET, WeightKind.T2I_ADAPTER, WeightKind.IP_ADAPTER)
    return tuple(file for file in weights if file.kind in steering and is_compatible(file, checkpoint, spec))


def add_control_tasks(model: Model, files: Sequence[WeightFile], facts: ControlFacts) -> Model:
    """`model` with the tasks and features that its `available` files give it, and without the features that need
    others. A model that edits by instruction takes references itself."""
    tasks = {
        task
        for task, kinds in ((Task.SKETCH, _SKETCH), (Task.STRUCTURE, _STRUCTURE))
        if _find_best_file(files, kinds, facts)
    }
    features = set(model.features - {Feature.CONTROL})
    if Task.EDIT not in model.tasks:
        features.discard(Feature.REFERENCE)
    if any(file.kind is not WeightKind.IP_ADAPTER for file in files):
        features.add(Feature.CONTROL)
    if any(file.kind is WeightKind.IP_ADAPTER for file in files):
        features.add(Feature.REFERENCE)
        tasks.add(Task.STYLE_TRANSFER)
    tasks = tasks if Task.TXT2IMG in model.tasks else set()
    if Task.INPAINT in model.tasks:
        features.add(Feature.DETAILER)
        tasks.add(Task.DETAIL)
    return dataclasses.replace(model, tasks=model.tasks | tasks, features=frozenset(features))


def convert_to_units(request: GenerationRequest, files: Sequence[WeightFile], facts: ControlFacts) -> GenerationRequest:
    """A sketch, structure or style transfer as a plain drawing with control units and references; any other request as
    it is. `files` are those that the checkpoint can use, `facts` its family's. For sketch and
    structure `strength` becomes the unit's weight.

    Raises:
        InvalidRequest: no source, no style image, or no file that does it; the hint names what would.
    """
    if request.task not in _NEEDED_FILES:
        return request
    source = request.source
    if not source:
        raise InvalidRequest(f"{request.task} needs an image.", hint="Choose a source image.")
    if request.task is Task.STYLE_TRANSFER:
        return _convert_style_transfer(request, source, files, facts)
    found = _find_best_file(files, _SKETCH if request.task is Task.SKETCH else _STRUCTURE, facts)
    if found is None:
        raise _make_missing_error(request)
    weight = 1.0 if request.strength is None else request.strength
    return _convert_to_txt2img(request, source, _build_unit(found, source, weight))


def _convert_style_transfer(
    request: GenerationRequest, source: str, files: Sequence[WeightFile], facts: ControlFacts
) -> GenerationRequest:
    if not request.references or not request.references[0].image:
        raise InvalidRequest("No style image.", hint="Add a reference image.")
    if not any(file.kind is WeightKind.IP_ADAPTER for file in files):
        raise _make_missing_error(request)
    first, *others = request.references
    request = request.replace(references=(dataclasses.replace(first, style_only=True), *others))
    shapes = _find_best_file(files, _STRUCTURE, facts)
    if shapes is None or request.strength is not None:
        strength = STYLE_STRENGTH if request.strength is None else request.strength
        return request.replace(task=Task.IMG2IMG, strength=strength)
    return _convert_to_txt2img(request, source, _build_unit(shapes, source, 1.0))


def _convert_to_txt2img(request: GenerationRequest, source: str, unit: ControlUnit) -> GenerationRequest:
    """The request as a drawing from text. Its own units steer too; those that would work on the source are given it."""
    own = tuple(dataclasses.replace(one, image=one.image or source) for one in request.control)
    return request.replace(task=Task.TXT2IMG, source=None, strength=None, control=(unit, *own))


def _build_unit(found: tuple[WeightFile, str, str], source: str, weight: float) -> ControlUnit:
    file, kind, preprocessor = found
    return ControlUnit(model=file.name, preprocessor=preprocessor, image=source, weight=weight, kind=kind)


def _find_best_file(
    files: Sequence[WeightFile], kinds: Mapping[str, str], facts: ControlFacts
) -> tuple[WeightFile, str, str] | None:
    """(file, control type, preprocessor) of the file that serves best: one made for a type before a union of many."""
    for kind, preprocessor in kinds.items():
        for file in files:
            if file.kind is not WeightKind.IP_ADAPTER and kind in _parse_kinds(file.name):
                return file, kind, preprocessor
    union = next((file for file in files if control_files.count_union_types(file)), None)
    kind = next((kind for kind in kinds if kind in facts.union_types), None)
    return (union, kind, next(iter(kinds.values()))) if union and kind else None


def _parse_kinds(name: str) -> set[str]:
    return {_KIND_WORDS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in _KIND_WORDS}


def _make_missing_error(request: GenerationRequest) -> InvalidRequest:
    return InvalidRequest(
        f"{request.task} is not available with {request.model}.",
        hint=f"Put {_NEEDED_FILES[request.task]} of its family below models/, or pick another model.",
    )

"""Control units looked up and judged before anything is loaded: the file, whether it fits the checkpoint, the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.core.errors import InvalidRequest
from studio.core.ports import PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.control import control_files

if TYPE_CHECKING:
    from studio.pipelines.catalog.catalog import Catalog

_PREPROCESSOR_KINDS = {"grey": "recolor", "lines": "mlsd", "threshold": "scribble", "colour": "color"}


@dataclass(frozen=True, kw_only=True)
class ResolvedUnit:
    """One unit with its file. `image` is the hash of its own image, None for the source; `union_type` the place of its
    control type in a union ControlNet, None for all others."""

    unit: ControlUnit
    file: WeightFile
    image: str | None
    union_type: int | None = None

    @property
    def is_adapter(self) -> bool:
        return self.file.kind is WeightKind.T2I_ADAPTER


def resolve_units(catalog: Catalog, request: GenerationRequest, drawn_as: Task) -> tuple[ResolvedUnit, ...]:
    """The units of `request` that weigh something, each with its file, for a pass that is drawn as text, image to image
    or inpainting.

    Raises:
        InvalidRequest: an unknown or broken ControlNet, one that does not fit the checkpoint, a unit without an image,
            a family or a task that diffusers cannot steer; the hint says what to do.
    """
    units = [unit for unit in request.control if unit.weight > 0]
    if not units:
        return ()
    checkpoint = catalog.checkpoint(request.model)
    spec = catalog.spec(checkpoint)
    check_steerable(checkpoint, spec, drawn_as)
    if len(units) > spec.control.max_units:
        raise InvalidRequest(
            f"{spec.title} takes at most {spec.control.max_units} control units at a time.",
            hint="Turn the others off.",
        )
    return tuple(_resolve_unit(catalog, checkpoint, unit, number, request) for number, unit in enumerate(units, 1))


def check_unit_names(catalog: Catalog, request: GenerationRequest) -> None:
    """Look up the files of the units that weigh something; their images may still be missing.

    Raises:
        InvalidRequest: as `resolve_units` for an unknown or broken file, or one that does not fit.
    """
    checkpoint = catalog.checkpoint(request.model)
    places = catalog.spec(checkpoint).control.union_types
    for number, unit in enumerate((unit for unit in request.control if unit.weight > 0), 1):
        file = _find_control_file(catalog, checkpoint, unit, number)
        types = control_files.count_union_types(file)
        if types:
            _find_union_type(unit, file, places, types)


def check_steerable(checkpoint: WeightFile, spec: PipelineSpec, drawn_as: Task) -> None:
    """Raises InvalidRequest where diffusers has no ControlNet pipeline for this family and task."""
    if spec.control.can_steer(drawn_as):
        return
    tasks = spec.control.pipelines
    if tasks:
        raise InvalidRequest(
            f"With {checkpoint.name}, ControlNet works for " + " and ".join(sorted(tasks)) + f", not for {drawn_as}.",
            hint="Turn the control units off, or pick a Stable Diffusion or SDXL checkpoint.",
        )
    raise InvalidRequest(
        f"{checkpoint.name} does not support ControlNet.",
        hint="Turn the control units off, or pick another model.",
    )


def is_compatible(file: WeightFile, checkpoint: WeightFile, spec: PipelineSpec) -> bool:
    """Whether a ControlNet, T2I-Adapter or IP-Adapter is usable and was made for checkpoints like this one: of the same
    family, and of the same width where both say it."""
    if file.problem or file.family != checkpoint.family:
        return False
    theirs, ours = _read_widths(file, checkpoint, spec)
    return not theirs or not ours or theirs == ours


def get_control_type(unit: ControlUnit, known: Iterable[str]) -> str:
    """The control type of a unit: what it says, else what its preprocessor makes of the `known` ones, else ""."""
    if unit.kind:
        return unit.kind
    name = unit.preprocessor
    if name in _PREPROCESSOR_KINDS:
        return _PREPROCESSOR_KINDS[name]
    return next((kind for kind in sorted(known, key=len, reverse=True) if name.startswith(kind)), "")


def _resolve_unit(
    catalog: Catalog, checkpoint: WeightFile, unit: ControlUnit, number: int, request: GenerationRequest
) -> ResolvedUnit:
    file = _find_control_file(catalog, checkpoint, unit, number)
    image = unit.image
    if image is None and not request.source:
        raise InvalidRequest(
            f"Control unit {number} has no image.",
            hint=("Choose a control image, or turn the unit off." if request.task is Task.TXT2IMG else "Enter a name."),
        )
    union = control_files.count_union_types(file)
    return ResolvedUnit(
        unit=unit,
        file=file,
        image=image,
        union_type=_find_union_type(unit, file, catalog.spec(checkpoint).control.union_types, union) if union else None,
    )


def _find_control_file(catalog: Catalog, checkpoint: WeightFile, unit: ControlUnit, number: int) -> WeightFile:
    if not unit.model:
        spec = catalog.spec(checkpoint)
        names = [file.name for file in catalog.weights() if _is_control(file) and is_compatible(file, checkpoint, spec)]
        raise InvalidRequest(
            f"Control unit {number} has no ControlNet.",
            hint=(
                ("Available: " + ", ".join(names) + ".") if names else f"Put one for {checkpoint.family} below models/."
            ),
        )
    adapters = {file.name for file in catalog.weights() if file.kind is WeightKind.T2I_ADAPTER}
    file = catalog.find(WeightKind.T2I_ADAPTER if unit.model in adapters else WeightKind.CONTROLNET, unit.model)
    check_compatible(file, checkpoint, catalog.spec(checkpoint))
    return file


def _is_control(file: WeightFile) -> bool:
    return file.kind in (WeightKind.CONTROLNET, WeightKind.T2I_ADAPTER)


def check_compatible(file: WeightFile, checkpoint: WeightFile, spec: PipelineSpec) -> None:
    """Raises InvalidRequest, naming both families or widths, where `is_compatible` says no."""
    if file.problem:
        raise InvalidRequest(f"The {file.kind} {file.name} cannot be used: {file.problem}", hint="Pick another one.")
    if is_compatible(file, checkpoint, spec):
        return
    details = {"file": file.name, "family": file.family}
    if file.family != checkpoint.family:
        raise InvalidRequest(
            f"The {file.kind} {file.name} was made for {file.family or 'an unknown family'}, "
            f"and {checkpoint.name} is {checkpoint.family}.",
            hint=f"Pick one for {checkpoint.family}, or another checkpoint.",
            details=details,
        )
    theirs, ours = _read_widths(file, checkpoint, spec)
    raise InvalidRequest(
        f"The {file.kind} {file.name} was made for a model {theirs} wide, and {checkpoint.name} is {ours} wide.",
        hint="Choose one made for this checkpoint.",
        details=details,
    )


def _read_widths(file: WeightFile, checkpoint: WeightFile, spec: PipelineSpec) -> tuple[int, int]:
    if not spec.control.has_other_widths:
        return 0, 0
    return control_files.read_model_width(file, file.kind), control_files.read_model_width(checkpoint, file.kind)


def _find_union_type(unit: ControlUnit, file: WeightFile, places: Mapping[str, int], types: int) -> int:
    table = {kind: place for kind, place in places.items() if place < types}
    kind = get_control_type(unit, places)
    if kind not in table:
        raise InvalidRequest(
            (
                f"{file.name} is a union ControlNet and needs a control type."
                if not kind
                else f"The union ControlNet {file.name} does not support {kind}."
            ),
            hint="Set its control type to one of: " + ", ".join(table) + ".",
        )
    return table[kind]

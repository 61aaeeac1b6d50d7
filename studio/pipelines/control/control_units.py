"""Control units looked up and judged before anything is loaded: the file, whether it fits the checkpoint, the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit
from studio.core.task import Task
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.control import control_files

if TYPE_CHECKING:
    from studio.pipelines.catalog.catalog import Catalog

UNET_FAMILIES = frozenset({"sd15", "sd2", "sdxl"})
"""Families whose UNet takes what a unit adds as an argument, whatever pipeline calls it."""

CONTROL_PIPELINES: Mapping[str, Mapping[Task, str]] = {
    "flux": {
        Task.TXT2IMG: "FluxControlNetPipeline",
        Task.IMG2IMG: "FluxControlNetImg2ImgPipeline",
        Task.INPAINT: "FluxControlNetInpaintPipeline",
    },
    "sd3": {Task.TXT2IMG: "StableDiffusion3ControlNetPipeline"},
    "qwen_image": {Task.TXT2IMG: "QwenImageControlNetPipeline"},
    "z_image": {Task.TXT2IMG: "ZImageControlNetPipeline"},
}
"""diffusers' ControlNet pipelines of the transformer families, by what is drawn."""

_UNION_TYPES: Mapping[str, Mapping[str, int]] = {
    "sdxl": {
        "openpose": 0,
        "depth": 1,
        "softedge": 2,
        "scribble": 2,
        "canny": 3,
        "lineart": 3,
        "lineart_anime": 3,
        "mlsd": 3,
        "normal": 4,
        "seg": 5,
        "tile": 6,
        "blur": 6,
        "inpaint": 7,
    },
    "flux": {
        "canny": 0,
        "lineart": 0,
        "lineart_anime": 0,
        "softedge": 0,
        "mlsd": 0,
        "tile": 1,
        "depth": 2,
        "blur": 3,
        "openpose": 4,
        "recolor": 5,
        "lq": 6,
    },
}
"""Places of the control types in xinsir's union ControlNets for SDXL and InstantX' for FLUX.1, as their cards give
them."""

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
    check_steerable(checkpoint, drawn_as)
    if checkpoint.family == "z_image" and len(units) > 1:
        raise InvalidRequest("Z-Image takes one control unit at a time.", hint="Turn the others off.")
    return tuple(_resolve_unit(catalog, checkpoint, unit, number, request) for number, unit in enumerate(units, 1))


def check_steerable(checkpoint: WeightFile, drawn_as: Task) -> None:
    """Raises InvalidRequest where diffusers has no ControlNet pipeline for this family and task."""
    if checkpoint.family in UNET_FAMILIES:
        return
    tasks = CONTROL_PIPELINES.get(checkpoint.family, {})
    if drawn_as in tasks:
        return
    if tasks:
        raise InvalidRequest(
            f"With {checkpoint.name}, ControlNet works for " + " and ".join(sorted(tasks)) + f", not for {drawn_as}.",
            hint="Turn the control units off, or pick a Stable Diffusion or SDXL checkpoint.",
        )
    raise InvalidRequest(
        f"{checkpoint.name} is of a family that has no ControlNet.",
        hint="Turn the control units off, or pick another model.",
    )


def is_compatible(file: WeightFile, checkpoint: WeightFile) -> bool:
    """Whether a ControlNet, T2I-Adapter or IP-Adapter is usable and was made for checkpoints like this one: of the same
    family, and of the same width where both say it."""
    if file.problem or file.family != checkpoint.family:
        return False
    theirs, ours = _read_widths(file, checkpoint)
    return not theirs or not ours or theirs == ours


def get_control_type(unit: ControlUnit) -> str:
    """The control type of a unit: what it says, else what its preprocessor makes, else ""."""
    if unit.kind:
        return unit.kind
    name = unit.preprocessor
    if name in _PREPROCESSOR_KINDS:
        return _PREPROCESSOR_KINDS[name]
    known = {kind for types in _UNION_TYPES.values() for kind in types}
    return next((kind for kind in sorted(known, key=len, reverse=True) if name.startswith(kind)), "")


def _resolve_unit(
    catalog: Catalog, checkpoint: WeightFile, unit: ControlUnit, number: int, request: GenerationRequest
) -> ResolvedUnit:
    file = _find_control_file(catalog, checkpoint, unit, number)
    image = unit.image
    if image is None and not request.source:
        raise InvalidRequest(
            f"Control unit {number} has no image.",
            hint=(
                "Give the unit an image of its own, or turn it off." if request.task is Task.TXT2IMG else "Give it one."
            ),
        )
    union = control_files.count_union_types(file)
    return ResolvedUnit(
        unit=unit, file=file, image=image, union_type=_find_union_type(unit, file, union) if union else None
    )


def _find_control_file(catalog: Catalog, checkpoint: WeightFile, unit: ControlUnit, number: int) -> WeightFile:
    if not unit.model:
        names = [file.name for file in catalog.weights() if _is_control(file) and is_compatible(file, checkpoint)]
        raise InvalidRequest(
            f"Control unit {number} has no ControlNet.",
            hint=(
                ("It can have: " + ", ".join(names) + ".")
                if names
                else f"Put one for {checkpoint.family} below models/."
            ),
        )
    adapters = {file.name for file in catalog.weights() if file.kind is WeightKind.T2I_ADAPTER}
    file = catalog.find(WeightKind.T2I_ADAPTER if unit.model in adapters else WeightKind.CONTROLNET, unit.model)
    check_compatible(file, checkpoint)
    return file


def _is_control(file: WeightFile) -> bool:
    return file.kind in (WeightKind.CONTROLNET, WeightKind.T2I_ADAPTER)


def check_compatible(file: WeightFile, checkpoint: WeightFile) -> None:
    """Raises InvalidRequest, naming both families or widths, where `fits` says no."""
    if file.problem:
        raise InvalidRequest(f"The {file.kind} {file.name} cannot be used: {file.problem}", hint="Pick another one.")
    if is_compatible(file, checkpoint):
        return
    details = {"file": file.name, "family": file.family}
    if file.family != checkpoint.family:
        raise InvalidRequest(
            f"The {file.kind} {file.name} was made for {file.family or 'an unknown family'}, "
            f"and {checkpoint.name} is {checkpoint.family}.",
            hint=f"Pick one for {checkpoint.family}, or another checkpoint.",
            details=details,
        )
    theirs, ours = _read_widths(file, checkpoint)
    raise InvalidRequest(
        f"The {file.kind} {file.name} was made for a model {theirs} wide, and {checkpoint.name} is {ours} wide.",
        hint="Pick the one that was made for this checkpoint.",
        details=details,
    )


def _read_widths(file: WeightFile, checkpoint: WeightFile) -> tuple[int, int]:
    return control_files.read_model_width(file, file.kind), control_files.read_model_width(checkpoint, file.kind)


def _find_union_type(unit: ControlUnit, file: WeightFile, types: int) -> int:
    table = {kind: place for kind, place in _UNION_TYPES.get(file.family, {}).items() if place < types}
    kind = get_control_type(unit)
    if kind not in table:
        raise InvalidRequest(
            (
                f"{file.name} is a union ControlNet, and the unit does not say for what."
                if not kind
                else f"The union ControlNet {file.name} knows no {kind}."
            ),
            hint="Set its control type to one of: " + ", ".join(table) + ".",
        )
    return table[kind]

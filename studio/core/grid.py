"""X/Y/Z grids: every field worth comparing as an axis, and the cells that the axes of a request make together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.grid_values import parse_floats, parse_integers, parse_sizes, parse_texts
from studio.core.lora_tags import change_tags, split_tags
from studio.core.number_format import format_number
from studio.core.request import Axis, GenerationRequest, LoraUse

MAX_CELLS = 1000


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Something an axis can run over. `read` turns what the user typed into values, `apply` puts the i-th of them into
    a request, `example` is typed text that shows how. Of two axes, the one with the higher `cost` changes less often.
    """

    name: str
    read: Callable[[str, tuple[str, ...]], list[Any]]
    apply: Callable[[GenerationRequest, list[Any], int], GenerationRequest]
    example: str
    cost: int = 0
    labelled: bool = True

    def label(self, value: Any) -> str:
        """What stands beside the row or above the column: "Steps: 20", or the bare value where it speaks for itself."""
        text = format_number(value) if isinstance(value, int | float) else str(value)
        return f"{self.name}: {text}" if self.labelled else text


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One image of the grid: its request (count 1, no axes), where it lies (column, row, sheet; 0 where there is no
    such axis), and a label per axis of the grid, in the axes' order."""

    request: GenerationRequest
    position: tuple[int, int, int]
    labels: tuple[str, ...]


def expand_cells(request: GenerationRequest) -> list[Cell]:
    """Every combination of the axes' values, in the order in which they are best made: the model changes least often.

    The seed is left as it is, so all cells share it unless an axis runs over it. A request without axes is one cell.

    Raises:
        InvalidRequest: an unknown parameter, values that cannot be read or do not fit, the same parameter twice, more
            than one image per cell, or more than MAX_CELLS cells.
    """
    if request.axes and request.count != 1:
        raise InvalidRequest("A grid makes one image per cell.", hint="Set the count to 1.")
    parameters = [_get_parameter(axis) for axis in request.axes]
    values = [
        parameter.read(parameter.name, axis.values) for parameter, axis in zip(parameters, request.axes, strict=True)
    ]
    total = 1
    for axis, found in zip(request.axes, values, strict=True):
        if not found:
            raise InvalidRequest(
                f"The axis {axis.parameter} has no values.", hint=f"For example: {PARAMETERS[axis.parameter].example}"
            )
        total *= len(found)
    if total > MAX_CELLS:
        raise InvalidRequest(
            f"The grid has {total} cells, {MAX_CELLS} at most.", hint="Use fewer values.", details={"cells": total}
        )
    if len({axis.parameter for axis in request.axes}) < len(request.axes):
        raise InvalidRequest("Two axes of the grid run over the same parameter.", hint="Give both lists to one axis.")
    made = [
        _build_cell(request, parameters, values, indices)
        for indices in itertools.product(*(range(len(found)) for found in values))
    ]
    costly = sorted(range(len(parameters)), key=lambda axis: -parameters[axis].cost)
    return sorted(made, key=lambda cell: tuple(cell.position[axis] for axis in costly))


def _get_parameter(axis: Axis) -> Parameter:
    if axis.parameter not in PARAMETERS:
        raise InvalidRequest(
            f"A grid cannot run over {axis.parameter!r}.",
            hint="It can run over: " + ", ".join(PARAMETERS) + ".",
            details={"field": "axes"},
        )
    return PARAMETERS[axis.parameter]


def _build_cell(
    request: GenerationRequest, parameters: list[Parameter], values: list[list[Any]], indices: tuple[int, ...]
) -> Cell:
    changed = request.replace(axes=())
    for parameter, found, index in zip(parameters, values, indices, strict=True):
        changed = parameter.apply(changed, found, index)
    column, row, sheet = (*indices, 0, 0, 0)[:3]
    labels = tuple(
        parameter.label(found[index]) for parameter, found, index in zip(parameters, values, indices, strict=True)
    )
    return Cell(request=changed, position=(column, row, sheet), labels=labels)


def _make_setter(name: str) -> Callable[[GenerationRequest, list[Any], int], GenerationRequest]:
    return lambda request, values, index: request.replace(**{name: values[index]})


def _replace_hires(request: GenerationRequest, **changes: Any) -> GenerationRequest:
    if request.hires is None:
        raise InvalidRequest("The grid runs over the hires pass, which is off.", hint="Switch the hires pass on.")
    return request.replace(hires=dataclasses.replace(request.hires, **changes))


def _make_hires_setter(name: str) -> Callable[[GenerationRequest, list[Any], int], GenerationRequest]:
    def apply(request: GenerationRequest, values: list[Any], index: int) -> GenerationRequest:
        size = {"width": None, "height": None} if name == "scale" else {}
        return _replace_hires(request, **size, **{name: values[index]})

    return apply


def _set_size(request: GenerationRequest, values: list[Any], index: int) -> GenerationRequest:
    return request.replace(width=values[index].width, height=values[index].height, aspect=None)


def _set_aspect(request: GenerationRequest, values: list[Any], index: int) -> GenerationRequest:
    return request.replace(width=None, height=None, aspect=values[index])


def _replace_in_prompts(request: GenerationRequest, values: list[Any], index: int) -> GenerationRequest:
    """A1111's Prompt S/R: the first value is looked for in all prompts, and each value in turn stands in its place."""
    sought, put = values[0], values[index]
    prompts = [request.prompt, request.negative_prompt]
    prompts += [request.hires.prompt, request.hires.negative_prompt] if request.hires is not None else []
    if not any(sought in prompt for prompt in prompts):
        raise InvalidRequest(
            f"Prompt S/R looks for {sought!r}, which is in no prompt.",
            hint="The first value must be a part of the prompt as it stands.",
        )
    changed = [prompt.replace(sought, put) for prompt in prompts]
    request = request.replace(prompt=changed[0], negative_prompt=changed[1])
    return (
        _replace_hires(request, prompt=changed[2], negative_prompt=changed[3]) if request.hires is not None else request
    )


def _set_lora_weight(request: GenerationRequest, values: list[Any], index: int) -> GenerationRequest:
    """Every LoRA of the request, chosen or written as a tag, gets the weight."""
    if not request.loras and not split_tags(request.prompt)[1]:
        raise InvalidRequest("The grid runs over the LoRA weight, but no LoRA is used.", hint="Choose a LoRA first.")

    def change_weight(use: LoraUse) -> LoraUse:
        return LoraUse(name=use.name, weight=values[index])

    return request.replace(
        loras=tuple(map(change_weight, request.loras)), prompt=change_tags(request.prompt, change_weight)
    )


def _index_parameters(*parameters: Parameter) -> Mapping[str, Parameter]:
    return MappingProxyType({parameter.name: parameter for parameter in parameters})


PARAMETERS: Mapping[str, Parameter] = _index_parameters(
    Parameter(
        name="Model",
        read=parse_texts,
        apply=_make_setter("model"),
        example="embedded, sdxl/base",
        cost=3,
        labelled=False,
    ),
    Parameter(
        name="Prompt S/R",
        read=parse_texts,
        apply=_replace_in_prompts,
        example='red, blue, "green, dotted"',
        labelled=False,
    ),
    Parameter(
        name="Prompt",
        read=parse_texts,
        apply=_make_setter("prompt"),
        example='"a red apple, photo", a pear',
        labelled=False,
    ),
    Parameter(name="Negative prompt", read=parse_texts, apply=_make_setter("negative_prompt"), example="blurry, dark"),
    Parameter(name="Prompt weight", read=parse_floats, apply=_make_setter("prompt_weight"), example="0.8, 1, 1.2"),
    Parameter(
        name="Negative prompt weight", read=parse_floats, apply=_make_setter("negative_weight"), example="0.8, 1, 1.2"
    ),
    Parameter(name="Seed", read=parse_integers, apply=_make_setter("seed"), example="1-5"),
    Parameter(name="Steps", read=parse_integers, apply=_make_setter("steps"), example="10-30 (+10)"),
    Parameter(name="CFG scale", read=parse_floats, apply=_make_setter("guidance"), example="3-9 [4]"),
    Parameter(
        name="Sampler", read=parse_texts, apply=_make_setter("sampler"), example="Euler, DPM++ 2M", labelled=False
    ),
    Parameter(name="Schedule type", read=parse_texts, apply=_make_setter("schedule"), example="Automatic, Karras"),
    Parameter(name="Size", read=parse_sizes, apply=_set_size, example="512x512, 512x768"),
    Parameter(name="Width", read=parse_integers, apply=_make_setter("width"), example="512, 768"),
    Parameter(name="Height", read=parse_integers, apply=_make_setter("height"), example="512, 768"),
    Parameter(name="Aspect", read=parse_texts, apply=_set_aspect, example="1:1, 3:2, 16:9"),
    Parameter(name="Variation seed", read=parse_integers, apply=_make_setter("variation_seed"), example="1-5"),
    Parameter(
        name="Variation strength", read=parse_floats, apply=_make_setter("variation_strength"), example="0-1 [5]"
    ),
    Parameter(name="Clip skip", read=parse_integers, apply=_make_setter("clip_skip"), example="1, 2"),
    Parameter(name="VAE", read=parse_texts, apply=_make_setter("vae"), example="vae-a, vae-b", cost=1),
    Parameter(name="LoRA weight", read=parse_floats, apply=_set_lora_weight, example="0-1 [5]"),
    Parameter(name="Hires upscaler", read=parse_texts, apply=_make_hires_setter("upscaler"), example="Latent, Lanczos"),
    Parameter(name="Hires scale", read=parse_floats, apply=_make_hires_setter("scale"), example="1.5, 2"),
    Parameter(name="Hires steps", read=parse_integers, apply=_make_hires_setter("steps"), example="10, 20"),
    Parameter(
        name="Hires denoising strength",
        read=parse_floats,
        apply=_make_hires_setter("strength"),
        example="0.3-0.7 (+0.2)",
    ),
    Parameter(name="Hires CFG scale", read=parse_floats, apply=_make_hires_setter("guidance"), example="5, 7"),
    Parameter(name="Hires sampler", read=parse_texts, apply=_make_hires_setter("sampler"), example="Euler, DPM++ 2M"),
    Parameter(
        name="Hires schedule type", read=parse_texts, apply=_make_hires_setter("schedule"), example="Automatic, Karras"
    ),
    Parameter(
        name="Hires model", read=parse_texts, apply=_make_hires_setter("model"), example="embedded, sdxl/base", cost=2
    ),
)

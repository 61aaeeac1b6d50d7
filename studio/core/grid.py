"""X/Y/Z grids: every field worth comparing as an axis, and the cells that the axes of a request make together."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.field_spec import RANDOM_SEED, FieldSpec, GridAxis
from studio.core.fields import MAX_PROMPT_CHARS, REQUEST_FIELDS
from studio.core.grid_values import parse_floats, parse_integers, parse_replacements, parse_sizes, parse_texts
from studio.core.lora_tags import change_tags, split_tags
from studio.core.number_format import format_number
from studio.core.request import Axis, GenerationRequest, Hires, LoraUse

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
        """The label of a row or column: "Steps: 20", or only the value where that is clear."""
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
    Those of the last grids are kept: limits, prices and filters all ask for them.

    The seed is left as it is, so all cells share it unless an axis runs over it. A request without axes is one cell.

    Raises:
        InvalidRequest: an unknown parameter, values that cannot be read or do not fit, the same parameter twice, more
            than one image per cell, or more than MAX_CELLS cells.
    """
    return [*(_keep_cells(request) if request.axes else _expand_cells(request))]


@functools.lru_cache(maxsize=2)  # of a request as it came, and with its seed
def _keep_cells(request: GenerationRequest) -> tuple[Cell, ...]:
    return _expand_cells(request)


def _expand_cells(request: GenerationRequest) -> tuple[Cell, ...]:
    if request.axes and request.count != 1:
        raise InvalidRequest("A grid makes one image per cell.", hint="Set the count to 1.")
    known = collect_parameters(type(request))
    parameters = [_get_parameter(axis, known) for axis in request.axes]
    values = [
        parameter.read(parameter.name, axis.values) for parameter, axis in zip(parameters, request.axes, strict=True)
    ]
    total = 1
    for axis, found in zip(request.axes, values, strict=True):
        if not found:
            raise InvalidRequest(
                f"The axis {axis.parameter} has no values.", hint=f"For example: {known[axis.parameter].example}"
            )
        total *= len(found)
    if total > MAX_CELLS:
        raise InvalidRequest(
            f"The grid has {total} cells; the limit is {MAX_CELLS}.", hint="Use fewer values.", details={"cells": total}
        )
    if len({axis.parameter for axis in request.axes}) < len(request.axes):
        raise InvalidRequest("Two axes of the grid run over the same parameter.", hint="Give both lists to one axis.")
    made = [
        _build_cell(request, parameters, values, indices)
        for indices in itertools.product(*(range(len(found)) for found in values))
    ]
    costly = sorted(range(len(parameters)), key=lambda axis: -parameters[axis].cost)
    return tuple(sorted(made, key=lambda cell: tuple(cell.position[axis] for axis in costly)))


def draw_axis_seeds(request: GenerationRequest, draw: Callable[[], int]) -> GenerationRequest:
    """The request with each -1 among the values of a seed axis replaced by a seed from `draw`.

    Raises:
        InvalidRequest: the values are no whole numbers.
    """
    seeds = {spec.grid.name for spec in request.FIELDS if spec.grid is not None and spec.empty == RANDOM_SEED}
    return request.replace(
        axes=tuple(_draw_seeds(axis, draw) if axis.parameter in seeds else axis for axis in request.axes)
    )


def _draw_seeds(axis: Axis, draw: Callable[[], int]) -> Axis:
    values = parse_integers(axis.parameter, axis.values)
    if RANDOM_SEED not in values:
        return axis  # as it was typed: a range stays a range
    return dataclasses.replace(axis, values=tuple(str(draw() if seed == RANDOM_SEED else seed) for seed in values))


def _get_parameter(axis: Axis, known: Mapping[str, Parameter]) -> Parameter:
    if axis.parameter not in known:
        raise InvalidRequest(
            f"A grid cannot run over {axis.parameter!r}.",
            hint="It can run over: " + ", ".join(known) + ".",
            details={"field": "axes"},
        )
    return known[axis.parameter]


def _build_cell(
    request: GenerationRequest, parameters: list[Parameter], values: list[list[Any]], indices: tuple[int, ...]
) -> Cell:
    changed = request.replace(axes=(), drawn=())
    for parameter, found, index in zip(parameters, values, indices, strict=True):
        changed = parameter.apply(changed, found, index)
    column, row, sheet = (*indices, 0, 0, 0)[:3]
    labels = tuple(
        parameter.label(found[index]) for parameter, found, index in zip(parameters, values, indices, strict=True)
    )
    return Cell(request=changed, position=(column, row, sheet), labels=labels)


def _replace_hires(request: GenerationRequest, **changes: Any) -> GenerationRequest:
    if request.hires is None:
        raise InvalidRequest("The grid runs over the hires pass, which is off.", hint="Switch the hires pass on.")
    return request.replace(hires=dataclasses.replace(request.hires, **changes))


def _set_size(request: GenerationRequest, values: list[Any], index: int) -> GenerationRequest:
    return request.replace(width=values[index].width, height=values[index].height, aspect=None)


def _replace_in_prompts(request: GenerationRequest, values: list[Any], index: int) -> GenerationRequest:
    """A1111's Prompt S/R: the first value is looked for in all prompts, and each value in turn stands in its place."""
    sought, put = values[0], values[index]
    prompts = [request.prompt, request.negative_prompt, request.template, request.negative_template]
    prompts += [request.hires.prompt, request.hires.negative_prompt] if request.hires is not None else []
    if not sought or not any(sought in prompt for prompt in prompts):
        raise InvalidRequest(
            f"Prompt S/R looks for {sought!r}, which is in no prompt.",
            hint="The first value must be a part of the prompt as it stands.",
        )
    longest = max(len(prompt) + prompt.count(sought) * (len(put) - len(sought)) for prompt in prompts)
    if longest > MAX_PROMPT_CHARS:  # before any is built
        raise InvalidRequest(
            f"A prompt of the grid would have {longest:,} characters.", hint=f"Use at most {MAX_PROMPT_CHARS:,}."
        )
    changed = [prompt.replace(sought, put) for prompt in prompts]
    names = ("prompt", "negative_prompt", "template", "negative_template")
    request = request.replace(**dict(zip(names, changed, strict=False)))
    return (
        _replace_hires(request, prompt=changed[4], negative_prompt=changed[5]) if request.hires is not None else request
    )


def _set_lora_weight(request: GenerationRequest, values: list[Any], index: int) -> GenerationRequest:
    """Every LoRA of the request, chosen or written as a tag, gets the weight."""
    if not request.loras and not split_tags(request.template or request.prompt)[1]:
        raise InvalidRequest("The grid runs over the LoRA weight, but no LoRA is used.", hint="Choose a LoRA first.")

    def change_weight(use: LoraUse) -> LoraUse:
        return LoraUse(name=use.name, weight=values[index], blocks=use.blocks)

    return request.replace(
        loras=tuple(map(change_weight, request.loras)),
        prompt=change_tags(request.prompt, change_weight),
        template=change_tags(request.template, change_weight),
    )


def build_parameters(fields: Iterable[FieldSpec], *, hires: bool = False) -> list[Parameter]:
    """An axis for each of `fields` that has one; with `hires` they are those of the hires pass."""
    return [_build_parameter(spec, spec.grid, hires) for spec in fields if spec.grid is not None]


def _build_parameter(spec: FieldSpec, axis: GridAxis, hires: bool) -> Parameter:
    unset = {each.name: each.unset for each in REQUEST_FIELDS}

    def apply(request: GenerationRequest, values: list[Any], index: int) -> GenerationRequest:
        random = spec.empty == RANDOM_SEED == values[index]
        changes = {name: unset[name] for name in spec.replaces} | {spec.name: None if random else values[index]}
        return _replace_hires(request, **changes) if hires else request.replace(**changes)

    return Parameter(
        name=axis.name,
        read=_READERS.get(spec.kind) or _make_choice_reader(spec),
        apply=apply,
        example=axis.example,
        cost=axis.cost,
        labelled=axis.labelled,
    )


def _make_choice_reader(spec: FieldSpec) -> Callable[[str, tuple[str, ...]], list[Any]]:
    """Reads fixed choices by their values or labels, in any case."""
    known = {str(name).lower(): value for label, value in spec.options.items() for name in (label, value)}
    known |= {old.lower(): spec.options[label] for old, label in spec.old_labels.items()}

    def read_choices(name: str, values: tuple[str, ...]) -> list[Any]:
        texts = parse_texts(name, values)
        for text in texts:
            if text.lower() not in known:
                raise InvalidRequest(
                    f"{text!r} is not a value for {name}.", hint="There are: " + ", ".join(spec.options) + "."
                )
        return [known[text.lower()] for text in texts]

    return read_choices


_READERS: Mapping[type, Callable[[str, tuple[str, ...]], list[Any]]] = {
    int: parse_integers,
    float: parse_floats,
    str: parse_texts,
}
_STRUCTURED_PARAMETERS = (  # axes that are no single field
    Parameter(
        name="Prompt S/R",
        read=parse_replacements,
        apply=_replace_in_prompts,
        example='red, blue, "green, dotted"',
        labelled=False,
    ),
    Parameter(name="Size", read=parse_sizes, apply=_set_size, example="512x512, 512x768"),
    Parameter(name="LoRA weight", read=parse_floats, apply=_set_lora_weight, example="0-1 [5]"),
)


@functools.cache
def collect_parameters(kind: type[GenerationRequest] = GenerationRequest) -> Mapping[str, Parameter]:
    """The parameters that a grid of requests of `kind` can vary, by name."""
    found = [
        *_STRUCTURED_PARAMETERS,
        *build_parameters(kind.FIELDS),
        *build_parameters(Hires.FIELDS, hires=True),
    ]
    return MappingProxyType({parameter.name: parameter for parameter in found})


PARAMETERS = collect_parameters()

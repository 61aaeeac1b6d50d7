"""The widgets of plain fields, built from the field tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.field_spec import ChoiceSource, FieldSpec, Widget
from studio.core.field_tables.detailer import TARGETS
from studio.core.model import Model
from studio.tabs.common.choices import ASPECTS, UPSCALERS, list_model_choices, list_schedule_choices
from studio.tabs.common.widgets import (
    build_checkbox,
    build_colour_picker,
    build_dropdown,
    build_number,
    build_slider,
    build_textbox,
)

_WIDE_WIDGETS = (Widget.TEXT, Widget.RADIO)  # these have a row of their own


@dataclass(frozen=True, kw_only=True)
class FieldContext:
    """Source of list choices: the chosen model, and the names of the fonts that there are."""

    model: Model | None = None
    fonts: Sequence[str] = ()


_EMPTY_CONTEXT = FieldContext()


def build_rows(
    fields: Sequence[FieldSpec], prefix: str = "", context: FieldContext = _EMPTY_CONTEXT
) -> dict[str, Component]:
    """A widget for each of `fields`, two in a row where they are not wide, by their names in the form."""
    made: dict[str, Component] = {}
    rest = list(fields)
    while rest:
        wide = rest[0].widget in _WIDE_WIDGETS
        together = 1 if wide or (len(rest) > 1 and rest[1].widget in _WIDE_WIDGETS) else 2
        row, rest = rest[:together], rest[together:]
        if wide:
            made[row[0].form_name] = build_widget(row[0], prefix, context)
            continue
        with gr.Row(elem_classes="pair"):
            made |= {spec.form_name: build_widget(spec, prefix, context) for spec in row}
    return made


def build_widget(
    spec: FieldSpec, prefix: str = "", context: FieldContext = _EMPTY_CONTEXT, **options: Any
) -> Component:
    """The widget of one field, with the value of a fresh form unless `options` hold another; they go to Gradio's
    component.

    Raises:
        ValueError: the field has no widget of its own.
    """
    label, elem_id = spec.label, prefix + spec.form_name.replace("_", "-")
    value: Any = options.pop("value") if "value" in options else get_initial_value(spec, context.model)
    help_text = "" if spec.placeholder else spec.help
    match spec.widget:
        case Widget.SLIDER if (limits := spec.slider or spec.limits) is not None:
            return build_slider(label, elem_id, (limits.low, limits.high, limits.step), value, help_text, **options)
        case Widget.NUMBER:
            return build_number(label, elem_id, value, help_text, **_get_number_options(spec) | options)
        case Widget.LARGE_NUMBER:
            one_line = {"value": str(value), "lines": 1, "max_lines": 1}
            return build_textbox(label, elem_id, help_text, max_length=40, **one_line | options)
        case Widget.DROPDOWN:
            choices = list(spec.options) or list_field_choices(spec, context)
            typed = {"allow_custom_value": not spec.options}
            return build_dropdown(label, elem_id, choices, value, help_text, **typed | options)
        case Widget.CHECKBOX:
            return build_checkbox(label, elem_id, value, help_text, **options)
        case Widget.RADIO:
            return gr.Radio(list(spec.options), value=value, label=label, elem_id=elem_id, info=help_text, **options)
        case Widget.COLOUR:
            return build_colour_picker(label, elem_id, value, help_text, **options)
        case Widget.TEXT:
            size = {"lines": spec.lines, "max_lines": 10 if spec.lines > 1 else 6, "placeholder": spec.placeholder}
            most = spec.max_length or 512
            return build_textbox(label, elem_id, help_text, max_length=most, **size | options)
        case _:
            raise ValueError(f"{spec.name} has no widget")


def build_value_dropdown(spec: FieldSpec, prefix: str = "", **options: Any) -> gr.Dropdown:
    """The list of a field with fixed choices for a form that holds their values and not their labels, "" for None;
    `options` as `build_widget` takes them."""
    choices = [(label, _write_choice(value)) for label, value in spec.options.items()]
    value = _write_choice(spec.unset if spec.initial is None else spec.initial)
    elem_id = prefix + spec.form_name.replace("_", "-")
    return build_dropdown(spec.label, elem_id, choices, value, spec.help, **{"allow_custom_value": False} | options)


def _write_choice(value: object) -> str:
    return "" if value is None else str(value)


def _get_number_options(spec: FieldSpec) -> dict[str, Any]:
    """Whole numbers only where the field is one, and a range: the widget's own, or the limits where no number stands
    for an empty field."""
    options: dict[str, Any] = {} if spec.kind is int else {"precision": None}
    limits = spec.limits if spec.empty is None and spec.unset is not None else None
    if (shown := spec.slider or limits) is not None:
        options |= {"minimum": shown.low, "maximum": shown.high}
    return options


def get_initial_value(spec: FieldSpec, model: Model | None) -> object:
    """The initial value on a form: the model's own default where there is one, for fixed choices the label."""
    if spec.from_model and model is not None:
        return getattr(model.sampling, spec.name)
    value = spec.blank if spec.initial is None else spec.initial
    return next((label for label, held in spec.options.items() if held == value), value)


def list_field_choices(spec: FieldSpec, context: FieldContext) -> list[str] | list[tuple[str, str]]:
    """The choices of the field's list, the one for an empty field first. Of models only the chosen one and of files
    none: the browser fetches them when the list is opened (choice_lists.py)."""
    if spec.source is ChoiceSource.FONTS:
        return [("Default", ""), *((name, name) for name in context.fonts if name)]
    empty = [spec.empty] if isinstance(spec.empty, str) else []
    if spec.source is ChoiceSource.MODELS:
        chosen = [context.model] if context.model is not None and not empty else []
        return [*((name, name) for name in empty), *list_model_choices(chosen)]
    return [*empty, *_list_names(spec, context)]


def _list_names(spec: FieldSpec, context: FieldContext) -> list[str]:
    match spec.source:
        case ChoiceSource.UPSCALERS:
            return list(UPSCALERS)
        case ChoiceSource.ASPECTS:
            return list(ASPECTS)
        case ChoiceSource.DETAIL_TARGETS:
            return list(TARGETS)
        case ChoiceSource.SAMPLERS if context.model is not None:
            sampling = context.model.sampling
            return list(sampling.combinations) or ([sampling.sampler] if spec.from_model else [])
        case ChoiceSource.SCHEDULES if context.model is not None:
            sampling = context.model.sampling
            if spec.from_model:
                return list_schedule_choices(context.model, sampling.sampler)
            return list({name: None for names in sampling.combinations.values() for name in names})
        case _:
            return []

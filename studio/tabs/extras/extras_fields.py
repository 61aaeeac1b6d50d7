"""The fields of Extras: images, steps, and what upscaling, faces and background take. Finish has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.field_spec import get_field
from studio.core.field_tables.finish import FACE_FIELDS, UPSCALE_FIELDS
from studio.core.model import Model
from studio.core.model_ids import UPSCALER_PREFIX
from studio.core.task import Task
from studio.core.upscale_modes import LANCZOS, NEAREST, UpscaleMode
from studio.tabs.common import image_fields
from studio.tabs.common.choices import list_model_choices
from studio.tabs.common.events import HIDDEN, UNQUEUED, show_errors
from studio.tabs.common.field_widgets import build_rows, build_widget
from studio.tabs.common.form_values import AUTOMATIC, NONE
from studio.tabs.common.result_panel import render_model_note
from studio.tabs.common.widgets import build_dropdown
from studio.tabs.extras.extras_values import (
    BY_FACTOR,
    BY_LONG_SIDE,
    BY_SIZE,
    DETAIL_FIELDS,
    MISSING_MODEL_HINTS,
    OWN_SETTINGS,
    QUALITIES,
    TASKS,
    UPSCALE_MODES,
    Step,
    can_redraw,
)
from studio.tabs.extras.finish_fields import build_finish_fields

PREFIX = "ext-"
SOURCE = f"{PREFIX}images"
NOT_INSTALLED = '<p class="note note-bad"><strong>No installed model supports this.</strong></p><p class="note">{}</p>'
_RESTORER_HINT = "Download the weights of one in Configurations, under Downloadable weights."
_BACKGROUND_HINT = "Enter the key of a cloud service that supports it in Configurations."
_DETAIL_HINT = "Put a checkpoint into models/checkpoints."
_MISSING_HINTS = {Step.FACES: _RESTORER_HINT, Step.DETAIL: _DETAIL_HINT, Step.BACKGROUND: _BACKGROUND_HINT}
_MODEL_FIELDS = {Step.FACES: "restorer", Step.DETAIL: "detail_model", Step.BACKGROUND: "background"}
ModelLister = Callable[[Task], Sequence[Model]]


@dataclass
class ExtrasLayout:
    """The fields so far; the block of each step; the blocks that only some ways of upscaling need; the lines below
    model lists."""

    fields: dict[str, Component] = field(default_factory=dict)
    steps: dict[Step, gr.Column] = field(default_factory=dict)
    preset: gr.Column | None = None
    own: gr.Column | None = None
    prompt: gr.Column | None = None
    blend: gr.Row | None = None
    notes: dict[Step, gr.HTML] = field(default_factory=dict)


def build_image_fields(layout: ExtrasLayout) -> None:
    """The images, and which steps are taken."""
    layout.fields["images"] = image_fields.build_image_pad(
        "Images", name=SOURCE, many=True, hint="Drop, paste or choose: one, many, or a whole folder"
    )
    layout.fields["steps"] = gr.CheckboxGroup(
        [step.value for step in Step],
        value=[Step.UPSCALE.value],
        label="Steps",
        elem_id=f"{PREFIX}steps",
        elem_classes="ticks",
        info="Run in this order.",
    )


def build_step_fields(layout: ExtrasLayout, models: ModelLister, fonts: Sequence[str]) -> None:
    """A block for each step; the first is shown."""
    for step in Step:
        with gr.Column(
            visible=step is Step.UPSCALE,
            elem_classes="part step",
            elem_id=f"{PREFIX}step-{step.name.lower()}",
            min_width=0,
        ) as column:
            gr.HTML(f"<h3>{step.value}</h3>", elem_classes="step-title", padding=False)
            if step is Step.UPSCALE:
                _build_upscale_fields(layout, models(Task.UPSCALE))
            elif step is Step.FACES:
                _build_tool_fields(layout, models, step, _build_restorer_dropdown)
                layout.fields |= build_rows(FACE_FIELDS, PREFIX)
            elif step is Step.DETAIL:
                _build_tool_fields(layout, models, step, _build_detail_dropdown)
                layout.fields |= build_rows(DETAIL_FIELDS, PREFIX)
            elif step is Step.BACKGROUND:
                _build_tool_fields(layout, models, step, _build_background_dropdown)
            else:
                layout.fields |= build_finish_fields(fonts, PREFIX)
        layout.steps[step] = column


def render_tool_note(models: Sequence[Model], chosen: Any, advice: str) -> str:
    """The line below a list of tools: what is wrong with the chosen one, or that there is none."""
    if not models:
        return NOT_INSTALLED.format(escape(advice))
    named = next((model for model in models if model.id == chosen), None)
    usable = next((model for model in models if not model.problem), None)
    if named is None and usable is None:
        return NOT_INSTALLED.format("<br>".join(escape(f"{model.title}: {model.problem}") for model in models))
    return render_model_note(named or usable or models[0])


def list_upscaler_names(models: Sequence[Model]) -> list[str]:
    """The names of the usable upscalers, for a second one and for the base."""
    return [
        model.id.removeprefix(UPSCALER_PREFIX)
        for model in models
        if model.id.startswith(UPSCALER_PREFIX) and not model.problem
    ]


def _build_upscale_fields(layout: ExtrasLayout, models: Sequence[Model]) -> None:
    fields = layout.fields
    fields["mode"] = gr.Radio(
        list(UPSCALE_MODES),
        value=next(iter(UPSCALE_MODES)),
        label="Mode",
        show_label=False,
        elem_id=f"{PREFIX}mode",
        elem_classes="modes modes-4",
    )
    with gr.Column(min_width=0, elem_classes="part") as layout.preset, gr.Row(elem_classes="pair"):
        fields["quality"] = gr.Dropdown(
            list(QUALITIES),
            value="Standard",
            label="Quality",
            elem_id=f"{PREFIX}quality",
            min_width=120,
            info="Higher quality takes longer.",
            allow_custom_value=True,
        )
        fields["with"] = gr.Dropdown(
            [AUTOMATIC],
            value=AUTOMATIC,
            label="With",
            elem_id=f"{PREFIX}with",
            min_width=120,
            info="Automatic uses a free local model.",
            allow_custom_value=True,
        )
    with gr.Column(min_width=0, visible=False, elem_classes="part") as layout.own:
        _build_own_fields(layout, models)
    layout.notes[Step.UPSCALE] = gr.HTML("", elem_classes="model-note")
    with gr.Column(min_width=0, visible=False, elem_classes="part") as layout.prompt:
        fields["prompt"] = gr.Textbox(
            label="Prompt",
            lines=2,
            max_lines=8,
            elem_id=f"{PREFIX}prompt",
            elem_classes="prompt",
            max_length=20_000,
            placeholder="Describe the image to guide new detail",
        )
        fields |= build_rows([get_field(UPSCALE_FIELDS, "creativity")], PREFIX)


def _build_own_fields(layout: ExtrasLayout, models: Sequence[Model]) -> None:
    models = sorted(models, key=can_redraw)  # what only enlarges stands first
    fields, names = layout.fields, list_upscaler_names(models) or [LANCZOS]
    chosen = next(
        (UPSCALER_PREFIX + name for name in names if name not in (LANCZOS, NEAREST)), UPSCALER_PREFIX + LANCZOS
    )
    fields["upscaler"] = build_dropdown(
        "Upscaler", f"{PREFIX}upscaler", list_model_choices(models), chosen, "Model that enlarges the image."
    )
    _build_target_size_fields(fields)
    with gr.Row(elem_classes="pair") as layout.blend:
        fields["second"] = build_dropdown(
            "Second upscaler", f"{PREFIX}second", [NONE, *names], NONE, "Blended with the first."
        )
        fields["second_weight"] = build_widget(get_field(UPSCALE_FIELDS, "second_weight"), PREFIX)
    with gr.Accordion("Tiles", open=False):
        with gr.Row(elem_classes="pair"):
            for name in ("tile", "overlap"):
                fields[name] = build_widget(get_field(UPSCALE_FIELDS, name), PREFIX, min_width=90)
        base = LANCZOS if LANCZOS in names else names[0]
        fields["base"] = build_dropdown(
            "Base upscaler", f"{PREFIX}base", names, base, "Enlarges the image before a model redraws it."
        )


def _build_target_size_fields(fields: dict[str, Component]) -> None:
    """Target size the result is to be: by a factor, a long side, or both sides."""
    ways = [BY_FACTOR, BY_LONG_SIDE, BY_SIZE]
    by = fields["size_by"] = gr.Radio(ways, value=BY_FACTOR, label="Target size", elem_id=f"{PREFIX}size-by")
    with gr.Column(min_width=0, elem_classes="part") as factor:
        fields["scale"] = build_widget(get_field(UPSCALE_FIELDS, "scale"), PREFIX)
    with gr.Column(min_width=0, visible=False, elem_classes="part") as longest:
        fields["long_side"] = build_widget(get_field(UPSCALE_FIELDS, "long_side"), PREFIX)
    with gr.Row(elem_classes="pair", visible=False) as size:
        for name in ("width", "height"):
            fields[f"up_{name}"] = build_widget(get_field(UPSCALE_FIELDS, name), PREFIX, min_width=90)
    by.change(
        show_errors(lambda chosen: [gr.update(visible=chosen == way) for way in ways]),
        by,
        [factor, longest, size],
        **HIDDEN,
    )


def _build_tool_fields(
    layout: ExtrasLayout, models: ModelLister, step: Step, chooser: Callable[[list[tuple[str, str]]], gr.Dropdown]
) -> None:
    """The chooser of a step's model, and the line below it; what has been fetched meanwhile is found when the field is
    entered."""
    task, advice = TASKS[step], _MISSING_HINTS[step]
    chosen = layout.fields[_MODEL_FIELDS[step]] = chooser(_list_tool_choices(models(task)))
    note = layout.notes[step] = gr.HTML(render_tool_note(models(task), AUTOMATIC, advice), elem_classes="model-note")
    chosen.change(show_errors(lambda named: render_tool_note(models(task), named, advice)), chosen, note, **UNQUEUED)
    chosen.focus(
        show_errors(
            lambda named: (
                gr.update(choices=_list_tool_choices(models(task))),
                render_tool_note(models(task), named, advice),
            )
        ),
        chosen,
        [chosen, note],
        **HIDDEN,
    )


def _list_tool_choices(models: Sequence[Model]) -> list[tuple[str, str]]:
    return [(AUTOMATIC, AUTOMATIC), *list_model_choices(models)]


def _build_restorer_dropdown(choices: list[tuple[str, str]]) -> gr.Dropdown:
    return gr.Dropdown(choices, value=AUTOMATIC, label="Restorer", elem_id=f"{PREFIX}restorer", allow_custom_value=True)


def _build_detail_dropdown(choices: list[tuple[str, str]]) -> gr.Dropdown:
    return gr.Dropdown(
        choices,
        value=AUTOMATIC,
        label="Model",
        elem_id=f"{PREFIX}detail-model",
        allow_custom_value=True,
        info="Redraws faces, or what you name, at full resolution.",
    )


def _build_background_dropdown(choices: list[tuple[str, str]]) -> gr.Dropdown:
    return gr.Dropdown(
        choices,
        value=AUTOMATIC,
        label="Model",
        elem_id=f"{PREFIX}background",
        allow_custom_value=True,
        info="Separates the subject from its background. Save as PNG, WebP or AVIF to keep transparency.",
    )


def render_upscale_note(mode: UpscaleMode | None, model: Model | None) -> str:
    """The line below the upscale settings: what is taken, or what is missing."""
    if model is None:
        return (
            NOT_INSTALLED.format(escape(MISSING_MODEL_HINTS[mode]))
            if mode
            else NOT_INSTALLED.format("Choose another upscaler.")
        )
    said = f'<p class="note">With {escape(model.title)}.</p>' if mode else ""
    return said + render_model_note(model)


def is_own(mode: Any) -> bool:
    """Whether the form's own upscale settings are asked for."""
    return mode == OWN_SETTINGS

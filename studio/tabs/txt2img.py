"""Text to image: the form on the left, the result on the right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import UnknownModel
from studio.core.model import Feature, Model
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import Studio
from studio.tabs.common import (
    chain_fields,
    control_fields,
    cost_line,
    form_fields,
    model_selection,
    restore_settings,
    tab_view,
    target_platform,
    template_fields,
)
from studio.tabs.common.choices import CUSTOM_SIZE, model_choices, schedule_choices
from studio.tabs.common.control_values import read_units, write_units
from studio.tabs.common.events import AT_ONCE, QUIET, Updates, told
from studio.tabs.common.form import Form
from studio.tabs.common.form_guide import Guide
from studio.tabs.common.form_values import SAME, read, request_of, write
from studio.tabs.common.hires_fields import hires_fields
from studio.tabs.common.result_panel import empty_stage, model_note
from studio.tabs.common.tab import Shell, Tab
from studio.tabs.common.tab_view import Desk


def build(studio: Studio, shell: Shell) -> None:
    """Lay the tab out and wire it up."""
    guide = Guide(studio)
    with gr.Row(elem_classes="easel"):
        with gr.Column(elem_classes="desk desk-prompt", min_width=0):
            prompts = form_fields.prompt_fields()
            counts = gr.HTML("", elem_classes="counts")
            verbs = tab_view.verbs()
            price = gr.Column(min_width=0)
        with gr.Column(elem_classes="desk desk-result", min_width=0):
            model = studio.engine.model("")
            result = tab_view.result(shell, "txt2img", empty_stage(guide.examples(model)))
        with gr.Column(elem_classes="desk desk-settings", min_width=0):
            templates = template_fields.fold(studio)
            fields, note, steering = _settings(studio, guide)
            make_for = target_platform.fold(studio)
            with gr.Accordion("Restore settings", open=False):
                dropped, pasted, take = _restore_fields()
    desk = Desk(
        name="txt2img", form=Form(prompts | fields | make_for.fields), panel=tab_view.panel(shell, "txt2img", verbs, result), result=result, counts=counts,
        note=note,
    )  # fmt: skip
    model_chosen = _wire(studio, shell, guide, desk, steering)
    target_platform.wire(studio, desk.form, make_for, Task.TXT2IMG, model_chosen)
    template_fields.wire(studio, shell, desk.form, templates)
    with price:
        cost_line.cost_line(
            shell, studio, desk, lambda values: read(values, model_selection.named(studio, str(values["model"])))
        )
    _wire_restore(studio, desk, pasted, dropped, take)
    shell.send.target(
        "txt2img", "Txt2Img", tab="Txt2Img", outputs={*desk.form.components(), desk.note}, offered=False,
        apply=lambda arrival: _filled(studio, desk, arrival.request, "") if arrival.request else {},
    )  # fmt: skip


@dataclass(frozen=True)
class _Steering:
    """The control units, and the frame around them that goes when the model has no use for them."""

    frame: gr.Accordion
    units: list[control_fields.Unit]

    def shown(self, model: Model) -> Updates:
        return {self.frame: gr.update(visible=Feature.CONTROL in model.features)}


def _settings(studio: Studio, guide: Guide) -> tuple[dict[str, Component], gr.HTML, _Steering]:
    """Everything below the prompt, the common fields open and the rest folded."""
    models, model = studio.engine.models(Task.TXT2IMG), studio.engine.model("")
    weights = studio.store.weights()
    fields = form_fields.model_fields(model_selection.listed(studio), model, guide.styles())
    note = gr.HTML(model_note(model), elem_classes="model-note")
    fields |= form_fields.size_fields(model) | form_fields.sampling_fields(model) | form_fields.seed_fields()
    with gr.Accordion("LoRA", open=False):
        fields |= form_fields.lora_fields(weights)
    with gr.Accordion("Hires pass", open=False):
        fields |= hires_fields(models, model, weights)
    steers = Feature.CONTROL in model.features
    with gr.Accordion("ControlNet", open=False, visible=steers, elem_id="control") as frame:
        units = control_fields.control_units(weights, studio.engine.models(Task.PREPROCESS), "", own=True)
        fields |= control_fields.fields_of(units)
    with gr.Accordion("Afterwards", open=False):
        fields |= chain_fields.after_fields()
    with gr.Accordion("X/Y/Z grid", open=False):
        gr.Markdown("One picture for every combination, and all of them on one labelled sheet.", elem_classes="hint")
        fields |= form_fields.grid_fields()
    with gr.Accordion("More", open=False):
        fields |= model_selection.fallback_fields(models) | form_fields.detail_fields(weights)
    return fields, note, _Steering(frame, units)


def _restore_fields() -> tuple[gr.File, gr.Textbox, gr.Button]:
    dropped = gr.File(
        label="Drop a picture here", file_types=["image"], type="filepath", height=110, elem_id="restore-picture",
    )  # fmt: skip
    pasted = gr.Textbox(
        label="Or paste its infotext", lines=3, max_lines=8, elem_id="restore-text", max_length=100_000,
        info="As AUTOMATIC1111, Forge and this studio write it.",
    )  # fmt: skip
    return dropped, pasted, gr.Button("Use these settings", size="sm", elem_id="restore")


def _wire(studio: Studio, shell: Shell, guide: Guide, desk: Desk, steering: _Steering) -> Any:
    """Gives the event of choosing a model."""
    form, note, panel = desk.form, desk.note, desk.panel

    def ask(values: dict[str, Any], user: User) -> GenerationRequest:
        model = model_selection.named(studio, str(values["model"]))
        wanted = read(values, model)
        if Feature.CONTROL in model.features and (units := read_units(values)):
            wanted = request_of({**wanted.to_json(), "control": units})
        wanted = guide.styled(chain_fields.with_chain(studio, wanted, values, user), values["styles"] or [])
        return target_platform.goes_on(studio, values, wanted, user)

    @told
    def choose(model_id: Any, job_id: Any) -> Updates:
        model = model_selection.named(studio, str(model_id))
        untouched = {panel.stage: empty_stage(guide.examples(model))} if not job_id else {}
        return {**form_fields.for_model(form, model), note: model_note(model), **steering.shown(model), **untouched}

    tab_view.wire(studio, guide, desk, ask=ask, fill=lambda wanted: _filled(studio, desk, wanted, ""), outputs={note})
    tab_view.wire_memory(
        studio, shell, desk, lambda kept: _restored(studio, desk, steering, kept), {note, steering.frame}
    )
    control_fields.wire_previews(studio, form, steering.units)
    chain_fields.wire_afterwards(studio, shell, form)
    return form["model"].input(
        choose, [form["model"], panel.job], {*form.components(), note, steering.frame, panel.stage}, **AT_ONCE
    )


def _wire_restore(studio: Studio, desk: Desk, pasted: gr.Textbox, dropped: gr.File, take: gr.Button) -> None:
    form = desk.form

    @told
    def from_text(text: Any, prompt: Any) -> Updates:
        wanted, passed_over = restore_settings.from_text(text if isinstance(text, str) and text.strip() else prompt)
        return _filled(studio, desk, wanted, passed_over)

    @told
    def from_picture(path: str | None) -> Updates:
        if path is None:
            return {}
        return _filled(studio, desk, *restore_settings.from_picture(Path(path), studio.settings.current))

    outputs = {*form.components(), desk.note}
    take.click(from_text, [pasted, form["prompt"]], outputs, **QUIET)
    dropped.upload(from_picture, dropped, outputs, **(QUIET | {"preprocess": True}))


def _filled(studio: Studio, desk: Desk, wanted: GenerationRequest, passed_over: str) -> Updates:
    """The updates that put `wanted` on the form; a model that is not here is named, and the rest is restored."""
    form, note = desk.form, desk.note
    values = write(wanted) | write_units(wanted) | target_platform.written(wanted)
    updates: Updates = {}
    try:
        model = studio.engine.model(wanted.model)
    except UnknownModel as error:
        del values["model"]
        gr.Warning(f"{error.message} The chosen model stays.", title="Model not here")
    else:
        updates = {**form_fields.for_model(form, model), note: model_note(model)}
    width, height = values.get("width"), values.get("height")
    values |= {"size": CUSTOM_SIZE} if width and height else {}
    for field, update in form.updates(values).items():
        updates[field] = {**updates.get(field, {}), **update}
    if "sampler" in values and "model" in values:
        choices = schedule_choices(studio.engine.model(wanted.model), values["sampler"])
        updates[form["schedule"]] = gr.update(choices=choices, value=values.get("schedule", choices[0]))
    if passed_over:
        gr.Info(passed_over, title="Settings restored")
    return updates


def _restored(studio: Studio, desk: Desk, steering: _Steering, kept: dict[str, Any]) -> Updates:
    """The updates that put back what the browser kept of the form."""
    form = desk.form
    models = model_selection.listed(studio)
    known = {model.id: model for model in models}
    model = known.get(kept.get("model", "")) or studio.engine.model("")
    kept["model"] = model.id
    updates: Updates = {**form_fields.for_model(form, model), desk.note: model_note(model), **steering.shown(model)}
    for field, update in form.updates(kept).items():
        updates[field] = {**updates.get(field, {}), **update}
    updates[form["model"]] = gr.update(choices=model_choices(models), value=model.id)
    offered = model_choices(studio.engine.models(Task.TXT2IMG))
    for name, choices in (("fallbacks", offered), ("hires_model", [(SAME, SAME), *offered])):
        updates[form[name]] = {**updates.get(form[name], gr.update()), "choices": choices}
    choices = schedule_choices(model, str(kept.get("sampler", model.sampling.sampler)))
    updates[form["schedule"]] = gr.update(choices=choices, value=kept.get("schedule", model.sampling.schedule))
    return updates


TAB = Tab(title="Txt2Img", order=10, build=build)

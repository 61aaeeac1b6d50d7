"""Text to image: the form on the left, the result on the right."""

from __future__ import annotations

from dataclasses import dataclass
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
    choice_lists,
    control_fields,
    cost_line,
    follow_model,
    form_fields,
    model_selection,
    prompt_list,
    prompt_tools,
    recipe_fields,
    restore_settings,
    tab_view,
    target_platform,
    template_fields,
)
from studio.tabs.common.choices import CUSTOM_SIZE, list_schedule_choices
from studio.tabs.common.control_values import read_units, write_units
from studio.tabs.common.current_user import get_user
from studio.tabs.common.detailer_fields import build_detailer_accordion
from studio.tabs.common.events import UNQUEUED, Updates, show_errors, show_info, show_warning
from studio.tabs.common.form import Form
from studio.tabs.common.form_guide import FormGuide
from studio.tabs.common.form_values import parse_request, read_form, write_form
from studio.tabs.common.hires_fields import build_hires_accordion
from studio.tabs.common.region_fields import build_regions_accordion
from studio.tabs.common.result_panel import render_empty_result, render_model_note
from studio.tabs.common.tab import PageContext, Tab
from studio.tabs.common.tab_view import TabView


def build_txt2img_tab(studio: Studio, page_context: PageContext) -> None:
    """Lay the tab out and wire it up."""
    guide = FormGuide(studio)
    with gr.Row(elem_classes="easel"):
        with gr.Column(elem_classes="view-column view-prompt", min_width=0):
            prompts = form_fields.build_prompt_fields()
            counts = gr.HTML("", elem_classes="counts")
            prompt_tools.build_prompt_tools(restores=True)
            buttons = tab_view.build_action_buttons()
        with gr.Column(elem_classes="view-column view-result", min_width=0):
            model = studio.engine.model("")
            result = tab_view.build_result_panel(
                page_context, "txt2img", render_empty_result(guide.list_examples(model))
            )
        with page_context.blocks.defer_column("view-column", "view-settings"):
            fields, note, steering, chips = _build_settings(studio, guide)
            make_for = target_platform.build_target_accordion(studio)
            templates = template_fields.build_templates_accordion(studio)
            listed = prompt_list.build_prompt_list_accordion()
            recipes = recipe_fields.build_recipes_accordion()
            switch = prompt_tools.build_model_switch()
            restore = gr.Textbox("", elem_id="restore", elem_classes="store", show_label=False, max_length=200_000)
    view = TabView(
        name="txt2img",
        form=Form(prompts | fields | make_for.fields),
        panel=tab_view.build_job_panel(page_context, "txt2img", buttons, result),
        result=result,
        counts=counts,
        note=note,
    )
    with page_context.blocks.add_later():
        choice_lists.wire_lists(view.form)
        restored = _wire_form(studio, page_context, guide, view, steering, _PromptParts(switch, recipes, listed))
        target_platform.wire_target_fields(studio, view.form, make_for, Task.TXT2IMG)
        target_platform.wire_format_chips(studio, view.form, chips)
        template_fields.wire_templates(studio, page_context, view.form, templates)
        with buttons.bar:
            cost_line.add_cost_line(
                page_context,
                studio,
                view,
                lambda values: read_form(values, model_selection.get_selectable_model(studio, str(values["model"]))),
            )
        _wire_restore(studio, view, restore)
        page_context.send.add_target(
            "txt2img",
            "",
            tab="Txt2Img",
            outputs={*view.form.components(), view.note},
            restored=restored,
            apply=lambda sent_image: _fill_form(studio, view, sent_image.request, "") if sent_image.request else {},
        )


@dataclass(frozen=True)
class _PromptParts:
    """What goes with the form beside its own fields: the model to switch to, saved recipes, and a list of prompts."""

    switch: gr.Textbox
    recipes: recipe_fields.RecipeFields
    listed: prompt_list.PromptListFields


@dataclass(frozen=True)
class _ControlSection:
    """The control units, and the frame around them that goes when the model has no use for them."""

    frame: gr.Accordion
    units: list[control_fields.ControlUnitFields]

    def show_for_model(self, model: Model) -> Updates:
        return {self.frame: gr.update(visible=Feature.CONTROL in model.features)}


def _build_settings(
    studio: Studio, guide: FormGuide
) -> tuple[dict[str, Component], gr.HTML, _ControlSection, gr.Textbox | None]:
    """Build the settings below the prompt, the common fields open and the rest in closed accordions."""
    model = studio.engine.model("")
    fields = form_fields.build_model_fields(model, guide.list_styles())
    note = gr.HTML(render_model_note(model), elem_classes="model-note")
    fields |= form_fields.build_size_fields(model) | form_fields.build_result_fields(model)
    chips = target_platform.build_format_chips(studio)
    fields |= form_fields.build_sampling_fields(model) | form_fields.build_seed_fields()
    with gr.Accordion("LoRA", open=False, elem_id="loras"):
        fields |= form_fields.build_lora_fields()
    fields |= build_hires_accordion(model)
    fields |= build_detailer_accordion(model) | build_regions_accordion()
    steers = Feature.CONTROL in model.features
    with gr.Accordion("ControlNet", open=False, visible=steers, elem_id="control") as frame:
        units = control_fields.build_control_units(studio.engine.models(Task.PREPROCESS), "", own=True)
        fields |= control_fields.collect_unit_fields(units)
    with gr.Accordion("Post-processing", open=False, elem_id="post"):
        fields |= chain_fields.build_chain_fields()
    with gr.Accordion("X/Y/Z grid", open=False, elem_id="grid"):
        gr.HTML("Makes one image per combination and a labelled overview sheet.", elem_classes="hint")
        fields |= form_fields.build_grid_fields()
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        fields |= model_selection.build_fallback_fields() | form_fields.build_detail_fields()
    return fields, note, _ControlSection(frame, units), chips


def _wire_form(
    studio: Studio,
    page_context: PageContext,
    guide: FormGuide,
    view: TabView,
    steering: _ControlSection,
    parts: _PromptParts,
) -> Any:
    """Gives the event of the form's return after a reload."""
    form, note, panel = view.form, view.note, view.panel

    def build_request(values: dict[str, Any], user: User) -> GenerationRequest:
        model = model_selection.get_selectable_model(studio, str(values["model"]))
        wanted = read_form(values, model)
        if Feature.CONTROL in model.features and (units := read_units(values)):
            wanted = parse_request({**wanted.to_json(), "control": units})
        wanted = guide.apply_styles(
            chain_fields.append_chosen_chain(studio, wanted, values, user), values["styles"] or []
        )
        return target_platform.append_target_steps(studio, values, wanted, user)

    @show_errors
    def choose_model(data: dict[Any, Any], request: gr.Request) -> Updates:
        model = model_selection.get_selectable_model(studio, str(data[form["model"]]))
        before = model_selection.find_selectable_model(studio, str(data[form["followed"]]))
        if before is not None and before.id == model.id:
            return {}
        untouched = {} if data[panel.job] else {panel.result: render_empty_result(guide.list_examples(model))}
        values, user = follow_model.read_inputs(form, data), get_user(request)

        def get_size(one: Model) -> tuple[int, int] | None:
            return target_platform.get_format_size(studio, values.get("for_format"), one, user)

        return {
            **follow_model.follow_model(form, before, model, values, get_size),
            note: render_model_note(model),
            **steering.show_for_model(model),
            **untouched,
        }

    def fill(wanted: GenerationRequest) -> Updates:
        return _fill_form(studio, view, wanted, "")

    tab_view.wire_tab(studio, guide, view, ask=build_request, fill=fill, outputs={note})
    memory = tab_view.wire_memory(
        studio, page_context, view, lambda kept: _restore_form(studio, view, steering, kept), {note, steering.frame}
    )
    control_fields.wire_previews(studio, form, steering.units)
    chain_fields.wire_chain_choice(studio, page_context, form)
    inputs = {*follow_model.list_inputs(form), panel.job}
    outputs = {*form.components(), note, steering.frame, panel.result}
    prompt_tools.wire_model_switch(studio, form, parts.switch, choose_model, inputs, outputs)
    recipe_fields.wire_recipes(studio, form, parts.recipes, ask=build_request, fill=fill, outputs={note})
    prompt_list.wire_prompt_list(studio, view, parts.listed, build_request)
    return memory.restored


def _wire_restore(studio: Studio, view: TabView, source: gr.Textbox) -> None:
    """Put back what the page's scripts write into `source`: settings of a dropped image, or a pasted infotext."""

    @show_errors
    def restore(text: Any) -> Updates:
        if not isinstance(text, str) or not text.strip():  # emptied below, so that the same can be restored again
            return {}
        if text.startswith(restore_settings.SETTINGS_MARK):
            found = restore_settings.read_settings(text)
        else:
            found = restore_settings.parse_settings_text(text, studio.engine.match_model)
        return {**_fill_form(studio, view, *found), source: ""}

    source.change(restore, source, {*view.form.components(), view.note, source}, **UNQUEUED)


def _fill_form(studio: Studio, view: TabView, wanted: GenerationRequest, passed_over: str) -> Updates:
    """The updates that put `wanted` on the form; a model that is not here is named, and the rest is restored."""
    form, note = view.form, view.note
    values = write_form(wanted) | write_units(wanted) | target_platform.write_targets(wanted)
    updates: Updates = {}
    try:
        model = studio.engine.model(wanted.model)
    except UnknownModel as error:
        del values["model"]
        show_warning(f"{error.message} The selected model is kept.", title="Model not installed")
    else:
        if "model" in values:
            values["model"] = model.id
        updates = {**follow_model.show_model(form, model), note: render_model_note(model)}
    width, height = values.get("width"), values.get("height")
    values |= {"size": CUSTOM_SIZE} if width and height else {}
    for field, update in form.make_updates(values).items():
        updates[field] = {**updates.get(field, {}), **update}
    if "sampler" in values and "model" in values:
        choices = list_schedule_choices(studio.engine.model(wanted.model), values["sampler"])
        updates[form["schedule"]] = gr.update(choices=choices, value=values.get("schedule", choices[0]))
    if passed_over:
        show_info(passed_over, title="Settings restored")
    return choice_lists.add_model_titles(studio, form, updates)


def _restore_form(studio: Studio, view: TabView, steering: _ControlSection, kept: dict[str, Any]) -> Updates:
    """The updates that put back what the browser kept of the form."""
    form = view.form
    known = {model.id: model for model in model_selection.list_selectable_models(studio)}
    model = known.get(kept.get("model", "")) or studio.engine.model("")
    kept["model"] = kept["followed"] = model.id
    updates: Updates = {
        **follow_model.show_model(form, model),
        view.note: render_model_note(model),
        **steering.show_for_model(model),
    }
    for field, update in form.make_updates(kept).items():
        updates[field] = {**updates.get(field, {}), **update}
    choices = list_schedule_choices(model, str(kept.get("sampler", model.sampling.sampler)))
    updates[form["schedule"]] = gr.update(choices=choices, value=kept.get("schedule", model.sampling.schedule))
    return choice_lists.add_model_titles(studio, form, updates)


TAB = Tab(title="Txt2Img", order=10, build=build_txt2img_tab)

"""Image to image: an image changed by a model, whole, where it is masked, beyond its edges, or as an instruction
says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest, UnknownModel
from studio.core.model import Model
from studio.core.operations import EDIT, Part, find_operation, get_visible_parts
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
    mask_layers,
    model_selection,
    prompt_tools,
    tab_view,
    target_platform,
)
from studio.tabs.common.choices import CUSTOM_SIZE, list_schedule_choices
from studio.tabs.common.current_user import get_user
from studio.tabs.common.detailer_fields import build_detailer_accordion
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, show_errors, show_warning
from studio.tabs.common.form_guide import FormGuide
from studio.tabs.common.form_values import parse_request
from studio.tabs.common.image_fields import read_image_names
from studio.tabs.common.region_fields import build_regions_accordion
from studio.tabs.common.result_panel import render_empty_result, render_model_note
from studio.tabs.common.send_images import SentImage
from studio.tabs.common.tab import PageContext, Tab
from studio.tabs.common.tab_view import TabView
from studio.tabs.img2img import img2img_fields as fields
from studio.tabs.img2img.img2img_fields import PREFIX, Img2ImgLayout
from studio.tabs.img2img.img2img_values import GROW_MODES, SIDES, read_img2img, read_paint_layer, write_img2img
from studio.tabs.img2img.search_mask import wire_search

GREETING = "Drop an image, describe the change, and press Generate."
PLAN_SCRIPT = (
    "(grow, {sides}, aspect, width, height) => [JSON.stringify({{how: {hows}[grow], {sides}, aspect, width, height}})]"
)


def build_img2img_tab(studio: Studio, page_context: PageContext) -> None:
    """Lay the tab out and wire it up."""
    guide = FormGuide(studio)
    models = studio.engine.models(Task.IMG2IMG)
    layout = Img2ImgLayout(models[0] if models else studio.engine.model(""))
    with gr.Row(elem_classes="easel easel-img2img"):
        with gr.Column(elem_classes="view-column view-prompt", min_width=0):
            hint, find, found = fields.build_source_fields(layout)
            with layout.part(Part.PROMPT):
                layout.fields |= form_fields.build_prompt_fields(PREFIX)
                counts = gr.HTML("", elem_classes="counts")
                prompt_tools.build_prompt_tools(PREFIX, pad=fields.SOURCE)
            switch = prompt_tools.build_model_switch(PREFIX)
            buttons = tab_view.build_action_buttons(PREFIX)
        with gr.Column(elem_classes="view-column view-result", min_width=0):
            result = tab_view.build_result_panel(
                page_context, "img2img", render_empty_result((), greeting=GREETING), PREFIX
            )
        with gr.Column(elem_classes="view-column view-settings", min_width=0):
            note, units = _build_settings(studio, guide, layout)
            make_for = target_platform.build_target_accordion(studio, PREFIX)
            layout.fields |= make_for.fields
    view = TabView(
        name="img2img",
        form=layout.form(),
        panel=tab_view.build_job_panel(page_context, "img2img", buttons, result),
        result=result,
        counts=counts,
        note=note,
    )
    choice_lists.wire_lists(view.form)
    page = _Img2ImgPage(studio, guide, view, layout, hint)
    page.wire(page_context, switch)
    target_platform.wire_target_fields(studio, view.form, make_for, Task.IMG2IMG)
    with buttons.bar:
        cost_line.add_cost_line(page_context, studio, view, page.build_cost_request)
    control_fields.wire_previews(studio, view.form, units)
    wire_search(studio, view.form, find, found)


def _build_settings(
    studio: Studio, guide: FormGuide, layout: Img2ImgLayout
) -> tuple[gr.HTML, list[control_fields.ControlUnitFields]]:
    """Build the settings below the prompt, those of the operation open and the rest in closed accordions."""
    model = layout.model
    layout.fields |= form_fields.build_model_fields(model, guide.list_styles(), PREFIX)
    note = gr.HTML(render_model_note(model), elem_classes="model-note")
    fields.build_operation_fields(layout)
    fields.build_output_size_fields(layout)
    with layout.part(Part.DRAWING):
        layout.fields |= form_fields.build_sampling_fields(model, PREFIX) | form_fields.build_seed_fields(PREFIX)
    fields.build_additional_fields(layout)
    with layout.part(Part.DETAILER):
        layout.fields |= build_detailer_accordion(model, PREFIX)
    with layout.part(Part.DRAWING):
        layout.fields |= build_regions_accordion(PREFIX, fields.SOURCE)
    with layout.part(Part.CONTROL), gr.Accordion("ControlNet", open=False, elem_id=f"{PREFIX}control"):
        units = control_fields.build_control_units(studio.engine.models(Task.PREPROCESS), PREFIX, own=False)
        layout.fields |= control_fields.collect_unit_fields(units)
    with layout.part(Part.DRAWING):
        with gr.Accordion("LoRA", open=False, elem_id=f"{PREFIX}loras"):
            layout.fields |= form_fields.build_lora_fields(PREFIX)
        with gr.Accordion("Post-processing", open=False, elem_id=f"{PREFIX}post"):
            layout.fields |= chain_fields.build_chain_fields(PREFIX)
        with gr.Accordion("X/Y/Z grid", open=False, elem_id=f"{PREFIX}grid"):
            layout.fields |= form_fields.build_grid_fields(PREFIX)
        with gr.Accordion("Advanced", open=False, elem_id=f"{PREFIX}advanced"):
            layout.fields |= model_selection.build_fallback_fields(PREFIX) | form_fields.build_detail_fields(PREFIX)
    return note, units


class _Img2ImgPage:
    """The tab's behaviour: what is shown for which operation and model, what is asked, and what comes from
    elsewhere."""

    def __init__(self, studio: Studio, guide: FormGuide, view: TabView, layout: Img2ImgLayout, hint: gr.HTML) -> None:
        self._studio, self._guide, self._view, self._form = studio, guide, view, view.form
        self._parts, self._hint = layout.parts, hint
        self._blocks = [column for columns in layout.parts.values() for column in columns]

    def wire(self, page_context: PageContext, switch: gr.Textbox) -> None:
        """Let the fields do what they are there for."""
        view, form = self._view, self._form
        outputs = {*self._blocks, self._hint, view.note}
        tab_view.wire_tab(
            self._studio, self._guide, view, ask=self._build_request, fill=self._fill_form, outputs=outputs
        )
        memory = tab_view.wire_memory(self._studio, page_context, view, self._restore_form, outputs)
        chain_fields.wire_chain_choice(self._studio, page_context, form)
        chosen = {form["mode"], form["operation"], *follow_model.list_inputs(form)}
        everything = {*form.components(), *outputs}
        for name in ("mode", "operation"):
            form[name].input(self._choose_operation, chosen, everything, trigger_mode="always_last", **UNQUEUED)
        prompt_tools.wire_model_switch(self._studio, form, switch, self._choose_model, chosen, everything)
        form["source"].upload(
            fn=None, js="() => ['', '']", outputs=[form["mask"], form["paint"]], api_visibility="private"
        )
        self._wire_plan()
        for name, title, mode in (("img2img", "Img2Img", "Img2Img"), ("inpaint", "Inpaint", "Inpaint")):
            page_context.send.add_target(
                name,
                title,
                tab="Img2Img",
                outputs=everything,
                apply=self._make_receiver(mode),
                restored=memory.restored,
            )

    def _wire_plan(self) -> None:
        grown = [self._form[name] for name in ("grow", *SIDES, "canvas_aspect", "canvas_width", "canvas_height")]
        changes: Any = [field.change for field in grown]
        script = PLAN_SCRIPT.format(sides=", ".join(SIDES), hows=json.dumps(GROW_MODES))
        gr.on(changes, fn=None, inputs=grown, outputs=[self._form["plan"]], js=script, **HIDDEN)

    def build_cost_request(self, values: Mapping[str, Any]) -> GenerationRequest:
        """The request on which the form's cost depends, complete or not; raises InvalidRequest and UnknownModel."""
        operation = find_operation(values["mode"], values["operation"])
        task = operation.task
        model = model_selection.get_selectable_model(self._studio, str(values["model"]), task)
        wanted: dict[str, Any] = {"task": task, "model": model.id}
        wanted |= {"steps": values["steps"]} if task.is_generative else {}
        if Part.ENLARGE in get_visible_parts(operation, model):
            wanted["enlarge"] = values["enlarge"] is True
        wanted |= {"batch": list(read_image_names(values["batch"]))} if values["batch"] else {}
        wanted |= {"width": values["width"], "height": values["height"]} if values["own_size"] is True else {}
        return parse_request(wanted | {"count": values["count"]})

    def _build_request(self, values: dict[str, Any], user: User) -> GenerationRequest:
        engine = self._studio.engine
        operation = find_operation(values["mode"], values["operation"])
        if not engine.models(operation.task):
            raise InvalidRequest(f"No installed model supports {operation.title}.", hint=operation.would_hint)
        wanted = read_img2img(
            values, model_selection.get_selectable_model(self._studio, str(values["model"]), operation.task)
        )
        if (layer := read_paint_layer(values, operation)) and wanted.source:
            image = mask_layers.apply_paint(
                engine.get_kept_file(wanted.source, user), engine.get_kept_file(layer, user)
            )
            wanted = wanted.replace(source=engine.keep_version(image, wanted.source, user).hash)
        if Part.DRAWING in operation.parts:
            wanted = chain_fields.append_chosen_chain(self._studio, wanted, values, user)
        if Part.PROMPT in operation.parts:
            wanted = self._guide.apply_styles(wanted, values["styles"] or [])
        return target_platform.append_target_steps(self._studio, values, wanted, user)

    @staticmethod
    def _pick_model(models: tuple[Model, ...], wanted: object) -> Model | None:
        return next((model for model in models if model.id == wanted), models[0] if models else None)

    def _update_view(self, mode: object, title: object, wanted: object) -> tuple[Model | None, Updates]:
        """The model to use, and what is shown for an operation: its parts, its models, its lines."""
        operation = find_operation(mode, title)
        models = model_selection.list_selectable_models(self._studio, operation.task)
        model = self._pick_model(models, wanted)
        parts = get_visible_parts(operation, model)
        updates: Updates = {
            column: gr.update(visible=part in parts) for part, columns in self._parts.items() for column in columns
        }
        missing = (
            f'<p class="note note-bad"><strong>No installed model supports this.</strong> {operation.would_hint}</p>'
        )
        updates[self._form["model"]] = gr.update(value=model.id if model else None)
        updates = choice_lists.add_model_titles(self._studio, self._form, updates)
        return model, updates | {
            self._form["operation"]: gr.update(visible=mode == EDIT),
            self._form["styles"]: gr.update(visible=Part.PROMPT in parts),
            self._hint: fields.render_hint(mode, title),
            self._view.note: render_model_note(model) if model else missing,
        }

    @show_errors
    def _choose_operation(self, data: dict[Any, Any], request: gr.Request) -> Updates:
        """Another operation, which may need another model."""
        form = self._form
        values = follow_model.read_inputs(form, data)
        model, updates = self._update_view(values["mode"], values["operation"], values["model"])
        return {**self._follow_model(values, model, get_user(request)), **updates} if model else updates

    @show_errors
    def _choose_model(self, data: dict[Any, Any], request: gr.Request) -> Updates:
        values = follow_model.read_inputs(self._form, data)
        if values["model"] == values["followed"]:  # the list was only looked at
            return {}
        return self._choose_operation(data, request)

    def _follow_model(self, values: Mapping[str, Any], model: Model, user: User) -> Updates:
        task = find_operation(values["mode"], values["operation"]).task
        before = model_selection.find_selectable_model(self._studio, str(values["followed"]), task)

        def get_size(one: Model) -> tuple[int, int] | None:
            return target_platform.get_format_size(self._studio, values.get("for_format"), one, user)

        return follow_model.follow_model(self._form, before, model, values, get_size)

    def _put(self, values: dict[str, Any], wanted_model: object) -> Updates:
        """The updates that put `values` on the form, and show what they need."""
        form = self._form
        model, looks = self._update_view(values.get("mode"), values.get("operation"), wanted_model)
        updates = {**follow_model.show_model(form, model), **looks} if model else looks
        values = {name: value for name, value in values.items() if name not in ("model", "followed")}
        for field, update in form.make_updates(values).items():
            updates[field] = {**updates.get(field, {}), **update}
        if model:
            choices = list_schedule_choices(model, str(values.get("sampler", model.sampling.sampler)))
            updates[form["schedule"]] = gr.update(choices=choices, value=values.get("schedule", choices[0]))
        return choice_lists.add_model_titles(self._studio, form, updates)

    def _restore_form(self, kept: dict[str, Any]) -> Updates:
        return self._put(kept, kept.get("model"))

    def _fill_form(self, wanted: GenerationRequest) -> Updates:
        values = write_img2img(wanted) | target_platform.write_targets(wanted)
        try:
            self._studio.engine.model(wanted.model, wanted.task)
        except UnknownModel as error:
            show_warning(f"{error.message} Another model was selected.", title="Model not installed")
        return self._put(values | ({"size": CUSTOM_SIZE} if wanted.width else {}), wanted.model)

    def _make_receiver(self, mode: str) -> Any:
        """Return a function that puts a sent image on the form, for the operation `mode`; its prompt and settings too,
        when they come along."""

        @show_errors
        def apply(sent_image: SentImage) -> Updates:
            request = sent_image.request
            values: dict[str, Any] = {
                "mode": mode,
                "source": sent_image.image.hash,
                "mask": "",
                "paint": "",
                "batch": "",
            }
            if request is not None:
                own = (
                    "prompt",
                    "negative_prompt",
                    "steps",
                    "guidance",
                    "sampler",
                    "schedule",
                    "seed",
                    "clip_skip",
                    "vae",
                )
                written = write_img2img(request)
                values |= {key: written[key] for key in own if key in written}
                values |= {key: value for key, value in written.items() if key.startswith("lora_")}
            model, looks = self._update_view(mode, None, request.model if request else None)
            if request is None or model is None:
                return looks | self._form.make_updates(values)
            return self._put(values, request.model)

        return apply


TAB = Tab(title="Img2Img", order=20, build=build_img2img_tab)

"""Extras: images enlarged, faces restored, backgrounds removed, files finished, one step after the other; and image
info."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest, StudioError
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from studio.engine.studio import Studio
from studio.tabs.common import tab_view
from studio.tabs.common.choices import list_model_choices
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import UNQUEUED, Updates, show_errors
from studio.tabs.common.form import Form
from studio.tabs.common.form_values import AUTOMATIC
from studio.tabs.common.image_fields import read_image_names
from studio.tabs.common.result_panel import render_empty_result
from studio.tabs.common.send_images import SentImage
from studio.tabs.common.tab import PageContext, Tab
from studio.tabs.common.tab_view import TabView
from studio.tabs.extras import extras_chains
from studio.tabs.extras.before_after import render_before_after
from studio.tabs.extras.extras_fields import (
    PREFIX,
    ExtrasLayout,
    build_image_fields,
    build_step_fields,
    is_own,
    render_upscale_note,
)
from studio.tabs.extras.extras_values import (
    OWN_SETTINGS,
    UPSCALE_MODES,
    Step,
    UpscaleMode,
    can_redraw,
    extract_chain,
    find_upscaler,
    list_choosable_models,
    read_extras,
    read_ticked_steps,
    write_extras,
)
from studio.tabs.extras.info_panel import build_info_panel

GREETING = "Drop images, select the steps, and press the button below them."


def build_extras_tab(studio: Studio, page_context: PageContext) -> None:
    """Lay the tab out and wire it up."""
    layout = ExtrasLayout()
    with gr.Tabs(elem_classes="inner", selected="work") as inner:
        with gr.Tab("Improve and finish", id="work"), gr.Row(elem_classes="easel easel-extras"):
            with gr.Column(elem_classes="view-column view-prompt", min_width=0):
                build_image_fields(layout)
                buttons = tab_view.build_action_buttons(PREFIX, Step.UPSCALE)
                with buttons.bar:
                    cost = gr.HTML("", elem_classes="counts", elem_id=f"{PREFIX}cost")
            with gr.Column(elem_classes="view-column view-result", min_width=0):
                result = tab_view.build_result_panel(
                    page_context, "extras", render_empty_result((), greeting=GREETING), PREFIX, seeds=False
                )
                facts = gr.HTML("", elem_id=f"{PREFIX}facts")
            with gr.Column(elem_classes="view-column view-settings", min_width=0):
                build_step_fields(layout, studio.engine.models, studio.fonts())
                with gr.Accordion("Chains", open=False, elem_id=f"{PREFIX}chains"):
                    chains = extras_chains.build_chains_accordion(PREFIX)
        with gr.Tab("Image info", id="info"):
            build_info_panel(studio, page_context, PREFIX)
    view = TabView(
        name="extras",
        form=Form(layout.fields),
        panel=tab_view.build_job_panel(page_context, "extras", buttons, result, verb=None),
        result=result,
        counts=cost,
        note=layout.notes[Step.UPSCALE],
    )
    page = _ExtrasPage(studio, view, layout)
    page.wire(page_context, facts, inner)
    extras_chains.wire_chains(page_context, chains, page, studio.engine.chains)


class _ExtrasPage:
    """The tab's behaviour: what is shown for which steps and mode, what is asked, what it costs, and what comes from
    elsewhere."""

    def __init__(self, studio: Studio, view: TabView, layout: ExtrasLayout) -> None:
        self._studio, self._view, self.form, self._layout = studio, view, view.form, layout
        self._blocks = {*layout.steps.values(), layout.preset, layout.own, layout.prompt, layout.blend}
        self._blocks.add(view.panel.generate)
        self.outputs: set[Any] = {*view.form.components(), *self._blocks, view.note, view.counts}

    def wire(self, page_context: PageContext, facts: gr.HTML, inner: gr.Tabs) -> None:
        view, form = self._view, self.form
        memory = tab_view.wire_memory(self._studio, page_context, view, self._restore_form, self.outputs)
        for event in (tab_view.wire_run(self._studio, view, self._build_request), memory.followed):
            event.then(self._show_facts, view.panel.job, facts, **UNQUEUED)
        tab_view.wire_reuse(
            self._studio, view, lambda asset: self.make_form_updates(extract_chain(asset.request)), self.outputs
        )
        changes: Any = [
            form[name].change
            for name in ("steps", "mode", "quality", "with", "upscaler", "images", "restorer", "background")
        ]
        form.on(
            changes,
            self._handle_change,
            self.outputs - form.components() | {form["with"]},
            trigger_mode="always_last",
            **UNQUEUED,
        )
        page_context.send.add_target(
            "extras",
            "Extras",
            tab="Extras",
            outputs={form["images"], inner},
            restored=memory.restored,
            apply=lambda sent_image: self._receive_image(sent_image) | {inner: gr.update(selected="work")},
        )

    def _receive_image(self, sent_image: SentImage) -> Updates:
        return self.form.make_updates({"images": sent_image.image.hash})

    def steps(self, values: dict[str, Any]) -> Sequence[GenerationRequest]:
        """The ticked steps, without images; raises InvalidRequest as `read`."""
        return read_ticked_steps(values, self._studio.engine.models())

    def _build_request(self, values: dict[str, Any], _: User) -> GenerationRequest:
        return read_extras(values, self._studio.engine.models())

    @show_errors
    def _show_facts(self, job_id: Any, request: gr.Request) -> str:
        return render_before_after(self._studio.engine, str(job_id or ""), get_user(request))

    @show_errors
    def _handle_change(self, packet: Any, request: gr.Request) -> Updates:
        return self._update_view(self.form.values(packet), get_user(request))

    def _update_view(self, values: dict[str, Any], user: User = LOCAL_USER) -> Updates:
        """The updates for `values`, which are complete, and their cost."""
        models = self._studio.engine.models(Task.UPSCALE)
        model, mode = find_upscaler(values, models), UPSCALE_MODES.get(str(values["mode"]))
        own, layout = is_own(values["mode"]), self._layout
        choices = [(AUTOMATIC, AUTOMATIC), *(list_model_choices(list_choosable_models(mode, models)) if mode else ())]
        known = values["with"] in [value for _, value in choices]
        guided = mode is UpscaleMode.CREATIVE or (own and model is not None and (can_redraw(model) or model.paid))
        return self._show_steps(values["steps"]) | {
            layout.preset: gr.update(visible=not own),
            layout.own: gr.update(visible=own),
            layout.prompt: gr.update(visible=guided),
            layout.blend: gr.update(visible=not guided),
            self.form["with"]: gr.update(choices=choices, **({} if known else {"value": AUTOMATIC})),
            self._view.note: render_upscale_note(mode, model),
            self._view.counts: self._render_cost(values, user),
        }

    def _show_steps(self, ticked: Any) -> Updates:
        shown = ticked if isinstance(ticked, list) else []
        updates: Updates = {column: gr.update(visible=step in shown) for step, column in self._layout.steps.items()}
        return updates | {self._view.panel.generate: gr.update(value=name_action(shown))}

    def _render_cost(self, values: dict[str, Any], user: User) -> str:
        """The cost of the selected steps, where a model is paid; empty while the form is not complete."""
        engine = self._studio.engine
        models = engine.models()
        paid = {model.id for model in models if model.paid}
        try:
            first, *rest = self.steps(values)
            if not paid & {step.model for step in (first, *rest)}:
                return ""
            amount = engine.estimate(
                first.replace(
                    batch=read_image_names(values["images"]), then=tuple(step.replace(file=None) for step in rest)
                ),
                user,
            )
        except StudioError:
            return ""
        return "Price unknown until billed." if amount is None else f"About <b>${amount:.3f}</b>"

    def _restore_form(self, kept: dict[str, Any]) -> Updates:
        first = {name: getattr(field, "value", None) for name, field in self.form.fields.items()}
        return self._merge_values(self._update_view({**first, **kept}), kept)

    def make_form_updates(self, steps: Sequence[GenerationRequest]) -> Updates:
        """The updates that put `steps` onto the form.

        Raises:
            InvalidRequest: the form cannot ask for them.
        """
        values = write_extras(steps)
        if values.get("mode") == OWN_SETTINGS and values.get("upscaler"):
            known = {model.id for model in self._studio.engine.models(Task.UPSCALE)}
            if values["upscaler"] not in known:
                raise InvalidRequest(
                    f"The upscaler “{values['upscaler']}” is not installed.",
                    hint="Install it, or choose another upscaler.",
                )
        if "mode" not in values:
            return self._merge_values(self._show_steps(values["steps"]), values)
        first = {name: getattr(field, "value", None) for name, field in self.form.fields.items()}
        return self._merge_values(self._update_view({**first, **values}), values)

    def _merge_values(self, updates: Updates, values: dict[str, Any]) -> Updates:
        for field, update in self.form.make_updates(values).items():
            updates[field] = {**update, **updates.get(field, {})}
        return updates


def name_action(steps: Sequence[str]) -> str:
    """What the button says that takes `steps`: the step's own name, or how many they are."""
    return steps[0] if len(steps) == 1 else f"Run {len(steps)} steps"


TAB = Tab(title="Extras", order=30, build=build_extras_tab)

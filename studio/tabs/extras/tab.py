"""Extras: pictures enlarged, faces restored, backgrounds removed, files finished, one step after the other; and picture info."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest, StudioError
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import Studio
from studio.tabs.common import tab_view
from studio.tabs.common.choices import model_choices
from studio.tabs.common.current_user import user_of
from studio.tabs.common.events import AT_ONCE, Updates, told
from studio.tabs.common.form import Form
from studio.tabs.common.form_values import AUTOMATIC
from studio.tabs.common.image_fields import names
from studio.tabs.common.result_panel import empty_stage
from studio.tabs.common.send_images import Arrival
from studio.tabs.common.tab import Shell, Tab
from studio.tabs.common.tab_view import Desk
from studio.tabs.extras import extras_chains
from studio.tabs.extras.before_after import facts_of
from studio.tabs.extras.extras_fields import PREFIX, Layout, is_own, picture_fields, step_fields, upscale_note
from studio.tabs.extras.extras_values import (
    MODES,
    OWN,
    Mode,
    Step,
    chain_of,
    choosable,
    read,
    redraws,
    steps_of,
    upscaler_of,
    write,
)
from studio.tabs.extras.info_panel import info_panel

GREETING = "Drop pictures, tick what is to be done, and press Generate."


def build(studio: Studio, shell: Shell) -> None:
    """Lay the tab out and wire it up."""
    layout = Layout()
    with gr.Tabs(elem_classes="inner", selected="work") as inner:
        with gr.Tab("Improve and finish", id="work"), gr.Row(elem_classes="easel easel-extras"):
            with gr.Column(elem_classes="desk desk-prompt", min_width=0):
                picture_fields(layout)
                cost = gr.HTML("", elem_classes="counts", elem_id=f"{PREFIX}cost")
                verbs = tab_view.verbs(PREFIX)
            with gr.Column(elem_classes="desk desk-result", min_width=0):
                result = tab_view.result(shell, "extras", empty_stage((), greeting=GREETING), PREFIX, seeds=False)
                facts = gr.HTML("", elem_id=f"{PREFIX}facts")
            with gr.Column(elem_classes="desk desk-settings", min_width=0):
                step_fields(layout, studio.engine.models, studio.fonts())
                with gr.Accordion("Chains", open=False, elem_id=f"{PREFIX}chains"):
                    chains = extras_chains.chains_fold(PREFIX)
        with gr.Tab("Picture info", id="info"):
            info_panel(studio, shell, PREFIX)
    desk = Desk(
        name="extras", form=Form(layout.fields), panel=tab_view.panel(shell, "extras", verbs, result), result=result, counts=cost,
        note=layout.notes[Step.UPSCALE],
    )  # fmt: skip
    page = _Page(studio, desk, layout)
    page.wire(shell, facts, inner)
    extras_chains.wire(shell, chains, page, studio.engine.chains)


class _Page:
    """The tab's behaviour: what is shown for which steps and mode, what is asked, what it costs, and what comes from elsewhere."""

    def __init__(self, studio: Studio, desk: Desk, layout: Layout) -> None:
        self._studio, self._desk, self.form, self._layout = studio, desk, desk.form, layout
        self._blocks = {*layout.steps.values(), layout.preset, layout.own, layout.prompt, layout.blend}
        self.outputs: set[Any] = {*desk.form.components(), *self._blocks, desk.note, desk.counts}

    def wire(self, shell: Shell, facts: gr.HTML, inner: gr.Tabs) -> None:
        desk, form = self._desk, self.form
        ended = [
            tab_view.wire_run(self._studio, desk, self._ask),
            tab_view.wire_memory(self._studio, shell, desk, self._restored, self.outputs),
        ]
        for event in ended:
            event.then(self._facts, desk.panel.job, facts, **AT_ONCE)
        tab_view.wire_reuse(self._studio, desk, lambda asset: self.filled(chain_of(asset.request)), self.outputs)
        changes: Any = [form[name].change for name in ("steps", "mode", "quality", "with", "upscaler", "pictures", "restorer", "background")]  # fmt: skip
        form.on(
            changes,
            self._changed,
            self.outputs - form.components() | {form["with"]},
            trigger_mode="always_last",
            **AT_ONCE,
        )
        shell.send.target(
            "extras", "Extras", tab="Extras", outputs={form["pictures"], inner},
            apply=lambda arrival: self._arrived(arrival) | {inner: gr.update(selected="work")},
        )  # fmt: skip

    def _arrived(self, arrival: Arrival) -> Updates:
        return self.form.updates({"pictures": arrival.picture.hash})

    def steps(self, values: dict[str, Any]) -> Sequence[GenerationRequest]:
        """The ticked steps, without pictures; raises InvalidRequest as `read`."""
        return steps_of(values, self._studio.engine.models())

    def _ask(self, values: dict[str, Any], _: User) -> GenerationRequest:
        return read(values, self._studio.engine.models())

    @told
    def _facts(self, job_id: Any, request: gr.Request) -> str:
        return facts_of(self._studio.engine, str(job_id or ""), user_of(request))

    def _changed(self, packet: Any) -> Updates:
        return self._look(self.form.values(packet))

    def _look(self, values: dict[str, Any]) -> Updates:
        """What is shown for `values`, which are complete, and what they would cost."""
        models = self._studio.engine.models(Task.UPSCALE)
        model, mode = upscaler_of(values, models), MODES.get(str(values["mode"]))
        own, layout = is_own(values["mode"]), self._layout
        choices = [(AUTOMATIC, AUTOMATIC), *(model_choices(choosable(mode, models)) if mode else ())]
        known = values["with"] in [value for _, value in choices]
        guided = mode is Mode.CREATIVE or (own and model is not None and (redraws(model) or model.paid))
        return self._steps_shown(values["steps"]) | {
            layout.preset: gr.update(visible=not own),
            layout.own: gr.update(visible=own),
            layout.prompt: gr.update(visible=guided),
            layout.blend: gr.update(visible=not guided),
            self.form["with"]: gr.update(choices=choices, **({} if known else {"value": AUTOMATIC})),
            self._desk.note: upscale_note(mode, model),
            self._desk.counts: self._cost(values),
        }

    def _steps_shown(self, ticked: Any) -> Updates:
        shown = ticked if isinstance(ticked, list) else []
        return {column: gr.update(visible=step in shown) for step, column in self._layout.steps.items()}

    def _cost(self, values: dict[str, Any]) -> str:
        """What the ticked steps would cost, where a model is paid; nothing while the form is not complete."""
        engine = self._studio.engine
        models = engine.models()
        paid = {model.id for model in models if model.paid}
        try:
            first, *rest = self.steps(values)
            if not paid & {step.model for step in (first, *rest)}:
                return ""
            amount = engine.estimate(first.replace(batch=names(values["pictures"]), then=tuple(step.replace(file=None) for step in rest)))  # fmt: skip
        except StudioError:
            return ""
        return "Costs money; how much, nobody can tell." if amount is None else f"About <b>${amount:.3f}</b>"

    def _restored(self, kept: dict[str, Any]) -> Updates:
        first = {name: getattr(field, "value", None) for name, field in self.form.fields.items()}
        return self._merged(self._look({**first, **kept}), kept)

    def filled(self, steps: Sequence[GenerationRequest]) -> Updates:
        """The updates that put `steps` onto the form.

        Raises:
            InvalidRequest: the form cannot ask for them.
        """
        values = write(steps)
        if values.get("mode") == OWN and values.get("upscaler"):
            known = {model.id for model in self._studio.engine.models(Task.UPSCALE)}
            if values["upscaler"] not in known:
                raise InvalidRequest(f"The upscaler “{values['upscaler']}” is not here.", hint="Install it, or choose another one.")  # fmt: skip
        if "mode" not in values:
            return self._merged(self._steps_shown(values["steps"]), values)
        first = {name: getattr(field, "value", None) for name, field in self.form.fields.items()}
        return self._merged(self._look({**first, **values}), values)

    def _merged(self, updates: Updates, values: dict[str, Any]) -> Updates:
        for field, update in self.form.updates(values).items():
            updates[field] = {**update, **updates.get(field, {})}
        return updates


TAB = Tab(title="Extras", order=30, build=build)

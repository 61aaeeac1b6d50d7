"""Social Optimizer: one picture or many, brought to every platform."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.model import GPU_LANE, Model
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import SocialParts, Studio
from studio.tabs.common import browser_memory
from studio.tabs.common.current_user import user_of
from studio.tabs.common.events import AT_ONCE, QUIET, Updates, toast, told
from studio.tabs.common.form import Form
from studio.tabs.common.result_panel import empty_stage
from studio.tabs.common.run_job import Panel, reattach, run
from studio.tabs.common.send_images import Arrival
from studio.tabs.common.tab import Shell, Tab
from studio.tabs.common.tab_view import PUBLIC
from studio.tabs.social import social_fields as fields
from studio.tabs.social.brand_kits import Kits
from studio.tabs.social.export_plan import Planner
from studio.tabs.social.export_results import results
from studio.tabs.social.social_fields import PREFIX
from studio.tabs.social.social_values import write

TITLE = "Social Optimizer"
_OPTIONS = (  # what the board draws with, in the order in which _TELL takes it
    "same", "extend", "colour", "text", "text_font", "text_size", "text_margin", "text_colour", "text_rim", "text_anchor",
)  # fmt: skip
_LOOK = (
    f"() => {{ document.querySelector('#{PREFIX}results').scrollIntoView({{ block: 'start', behavior: 'smooth' }}); }}"
)
_TELL = (
    "(same, extend, colour, text, font, size, margin, textColour, stroke, anchor) => { window.easel.socialOptions({same: same === 'Same for all',"
    " extend, border: colour, text, font, size: size / 100, margin: margin / 100, colour: textColour, stroke, anchor}); return []; }"
)


def build(studio: Studio, shell: Shell) -> None:
    """Lay the tab out and wire it up."""
    parts = studio.social
    if parts is None:
        gr.HTML('<p class="note">This studio has no platform formats.</p>')
        return
    made: dict[str, Component] = {}
    with gr.Row(elem_classes="easel easel-social"):
        with gr.Column(elem_classes="desk desk-prompt", min_width=0):
            made |= fields.wish()
            with gr.Row(elem_classes="verbs bar-below"):
                go = gr.Button(
                    "Export",
                    variant="primary",
                    elem_id=f"{PREFIX}export",
                    elem_classes="generate",
                    min_width=120,
                    scale=3,
                )
                stop = gr.Button(
                    "Stop", elem_id=f"{PREFIX}stop", elem_classes="stop", interactive=False, min_width=64, scale=1
                )
                skip = gr.Button("Skip", visible=False)
        with gr.Column(elem_classes="desk desk-result", min_width=0):
            made |= fields.board()
            stage = gr.HTML(empty_stage((), greeting=""), elem_id=f"{PREFIX}stage")
            table = gr.HTML("", elem_id=f"{PREFIX}results")
            with gr.Column(visible=False, elem_classes="actions-frame") as actions:
                with gr.Row(elem_classes="actions"):
                    again = gr.Button("Use all settings", size="sm", min_width=120, elem_id=f"{PREFIX}again")
                shell.send.offer("social")
        with gr.Column(elem_classes="desk desk-settings", min_width=0):
            made |= fields.crop(_upscalers(studio))
            with gr.Accordion("Text", open=False):
                made |= fields.text(studio.fonts())
            with gr.Accordion("Logo and brand kit", open=False):
                made |= fields.logo()
                kits = Kits(shell, made)
            with gr.Accordion("Files", open=False):
                made |= fields.files()
    job = browser_memory.remembered(shell, "social-job", "")
    panel = Panel(stage=stage, job=job, generate=go, stop=stop, skip=skip, actions=actions)
    page = _Page(studio, parts, Form(made), panel, table)
    page.wire(shell)
    again.click(page.again, job, page.form.components(), **QUIET)
    kits.wire(shell)


def _upscalers(studio: Studio) -> list[Model]:
    """Those that do nothing but enlarge, on this machine, by more than arithmetic."""
    models = studio.engine.models(Task.UPSCALE)
    return [model for model in models if model.tasks == {Task.UPSCALE} and model.lane == GPU_LANE and not model.problem]


class _Page:
    """The tab's behaviour: export, what arrives from other tabs, and what a reload brings back."""

    def __init__(self, studio: Studio, parts: SocialParts, form: Form, panel: Panel, table: gr.HTML) -> None:
        self._studio, self._parts, self.form, self._panel, self._table = studio, parts, form, panel, table
        self._planner = Planner(studio, parts)

    def wire(self, shell: Shell) -> None:
        form, panel = self.form, self._panel
        shown = {*panel.outputs(), self._table}
        exported = form.on(panel.generate.click, self._export, shown, api_name="social", trigger_mode="once", **PUBLIC)
        exported.success(fn=None, js=_LOOK, api_visibility="private")
        panel.stop.click(self._stop, panel.job, None, api_name="social_stop", **PUBLIC)
        tellers = [form[name] for name in _OPTIONS]
        changes: Any = [field.change for field in tellers]
        gr.on([*changes, shell.blocks.load], fn=None, inputs=tellers, outputs=None, js=_TELL, **QUIET)
        saved = browser_memory.remembered(shell, "social-form", {})
        shell.forms.append("social")
        restored = shell.blocks.load(self._restore, saved, form.components(), **AT_ONCE)
        restored.then(fn=None, js="() => { window.easel.ready('social'); }", api_visibility="private").then(
            fn=None, inputs=tellers, outputs=None, js=_TELL, api_visibility="private"
        )
        shell.blocks.load(self._attach, [panel.job, form["pattern"]], shown, **QUIET)
        browser_memory.remember("social", form, saved)
        shell.send.target("social", TITLE, tab=TITLE, outputs=[form["pictures"]], apply=self._arrived)

    def _export(self, packet: Any, request: gr.Request) -> Iterator[Updates]:
        values = self.form.values(packet)
        try:
            user = user_of(request)
            wanted = self._planner.ask(values, user)
        except StudioError as error:
            raise toast(error) from error
        yield from self._shown(run(self._studio.engine, self._panel, wanted, user), user, values.get("pattern"))

    @told
    def again(self, job_id: Any, request: gr.Request) -> Updates:
        """The form as it asked for the job that is shown: pictures, formats, crops and all the rest."""
        asked = self._studio.engine.job(str(job_id or ""), user_of(request)).request
        wish = next((step.social for step in (asked, *asked.then) if step.social is not None), None)
        if wish is None:
            raise InvalidRequest("This job made no formats.", hint="Export first, then use its settings.")
        sources = asked.batch or ((asked.source,) if asked.source else ())
        return self.form.filled(write(wish, sources))

    @told
    def _stop(self, job_id: Any, request: gr.Request) -> None:
        self._studio.engine.cancel(str(job_id), user_of(request))

    def _attach(self, job_id: Any, pattern: Any, request: gr.Request) -> Iterator[Updates]:
        try:
            user = user_of(request)
            yield from self._shown(reattach(self._studio.engine, self._panel, job_id, user), user, pattern)
        except StudioError as error:
            raise toast(error) from error

    def _shown(self, updates: Iterator[Updates], user: User, pattern: Any) -> Iterator[Updates]:
        """The updates of a job, with the button in this tab's words, and the table once the job has ended."""
        panel, job_id = self._panel, ""
        for each in updates:
            job_id = each.get(panel.job, job_id)
            button = each.get(panel.generate)
            if isinstance(button, dict) and "interactive" in button:
                busy = not button["interactive"]
                each[panel.generate] = gr.update(value="Exporting…" if busy else "Export", interactive=not busy)
                each[self._table] = "" if busy else self._results(job_id, user, str(pattern or fields.PATTERN))
            yield each

    def _results(self, job_id: str, user: User, pattern: str) -> str:
        try:
            snapshot = self._studio.engine.job(job_id, user).snapshot
        except NotFound:
            return ""
        return results(snapshot.assets, self._parts.platforms, re.sub(r"[^\w{}\-/ .]", "", pattern)[:120])

    def _restore(self, kept: Any) -> Updates:
        return self.form.filled(browser_memory.trusted(kept, self.form))

    def _arrived(self, arrival: Arrival) -> Updates:
        return self.form.updates({"pictures": arrival.picture.hash})


TAB = Tab(title=TITLE, order=40, build=build)

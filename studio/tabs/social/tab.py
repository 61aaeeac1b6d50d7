"""Social Optimizer: one image or many, brought to every platform."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import gradio as gr
from fastapi import APIRouter
from gradio.components import Component

from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.model import Model
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import SocialParts, Studio
from studio.tabs.common import browser_memory
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, make_toast, show_errors
from studio.tabs.common.form import Form
from studio.tabs.common.result_panel import render_empty_result
from studio.tabs.common.run_job import (
    ActionVerb,
    JobPanel,
    build_save_again_button,
    reattach_job,
    run_request,
    wire_save_again,
)
from studio.tabs.common.send_images import SentImage
from studio.tabs.common.tab import PageContext, Tab
from studio.tabs.common.tab_view import PUBLIC
from studio.tabs.social import social_fields as fields
from studio.tabs.social.board_routes import build_social_router
from studio.tabs.social.brand_kits import BrandKitRow
from studio.tabs.social.export_plan import ExportPlanner
from studio.tabs.social.export_results import render_results
from studio.tabs.social.social_fields import PREFIX
from studio.tabs.social.social_values import write_social

TITLE = "Social Optimizer"
_BOARD_OPTIONS = (  # what the board draws with, in the order in which _TELL takes it
    "same",
    "extend",
    "colour",
    "text",
    "text_font",
    "text_size",
    "text_margin",
    "text_colour",
    "text_rim",
    "text_anchor",
)
_SCROLL_SCRIPT = (
    f"() => {{ document.querySelector('#{PREFIX}results').scrollIntoView({{ block: 'start', behavior: 'smooth' }}); }}"
)
_OPTIONS_SCRIPT = (
    "(same, extend, colour, text, font, size, margin, textColour, stroke, anchor) => {"
    " window.easel.setBoardOptions({same: same === 'Same for all', extend, border: colour, text, font,"
    " size: size / 100, margin: margin / 100, colour: textColour, stroke, anchor}); return []; }"
)


_EXPORT = ActionVerb("Export", "Exporting…")


def build_social_tab(studio: Studio, page_context: PageContext) -> None:
    """Lay the tab out and wire it up."""
    parts = studio.social
    if parts is None:
        gr.HTML('<p class="note">Platform formats are not available in this studio.</p>')
        return
    made: dict[str, Component] = {}
    with gr.Row(elem_classes="easel easel-social"):
        with gr.Column(elem_classes="view-column view-prompt", min_width=0):
            made |= fields.build_selection_fields()
            with gr.Row(elem_classes="button-row bar-below"):
                go = gr.Button(
                    _EXPORT.idle,
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
        with gr.Column(elem_classes="view-column view-result", min_width=0):
            made |= fields.build_board_field()
            result = gr.HTML(render_empty_result((), greeting=""), elem_id=f"{PREFIX}result")
            save_again = build_save_again_button(PREFIX)
            table = gr.HTML("", elem_id=f"{PREFIX}results")
            with gr.Column(visible=False, elem_classes="actions-frame") as actions:
                with gr.Row(elem_classes="actions"):
                    again = gr.Button("Use all settings", size="sm", min_width=120, elem_id=f"{PREFIX}again")
                page_context.send.add_send_buttons("social")
        with gr.Column(elem_classes="view-column view-settings", min_width=0):
            made |= fields.build_crop_fields(_list_upscalers(studio))
            with gr.Accordion("Text", open=False):
                made |= fields.build_text_fields(studio.fonts())
            with gr.Accordion("Logo and brand kit", open=False):
                made |= fields.build_logo_fields()
                kits = BrandKitRow(page_context, made)
            with gr.Accordion("Files", open=False):
                made |= fields.build_file_fields(parts.platforms.platforms())
    job = browser_memory.make_browser_state(page_context, "social-job", "")
    panel = JobPanel(
        result=result,
        job=job,
        generate=go,
        stop=stop,
        skip=skip,
        actions=actions,
        save_again=save_again,
        verb=_EXPORT,
    )
    page = _SocialPage(studio, parts, Form(made), panel, table)
    page.wire(page_context)
    again.click(page.reuse_settings, job, page.form.components(), **HIDDEN)
    kits.wire(page_context)


def _list_upscalers(studio: Studio) -> list[Model]:
    """Those that do nothing but enlarge, on this machine, by more than arithmetic."""
    models = studio.engine.models(Task.UPSCALE)
    return [model for model in models if model.tasks == {Task.UPSCALE} and model.is_own and not model.problem]


class _SocialPage:
    """The tab's behaviour: export, what arrives from other tabs, and what a reload brings back."""

    def __init__(self, studio: Studio, parts: SocialParts, form: Form, panel: JobPanel, table: gr.HTML) -> None:
        self._studio, self._parts, self.form, self._panel, self._table = studio, parts, form, panel, table
        self._planner = ExportPlanner(studio, parts)

    def wire(self, page_context: PageContext) -> None:
        form, panel = self.form, self._panel
        shown = {*panel.outputs(), self._table}
        exported = form.on(panel.generate.click, self._export, shown, api_name="social", trigger_mode="once", **PUBLIC)
        exported.success(fn=None, js=_SCROLL_SCRIPT, api_visibility="private")
        saved_again = wire_save_again(self._studio.engine, panel)
        saved_again.then(self._attach, [panel.job, form["pattern"]], shown, **HIDDEN)
        panel.stop.click(self._stop, panel.job, None, api_name="social_stop", **PUBLIC)
        tellers = [form[name] for name in _BOARD_OPTIONS]
        changes: Any = [field.change for field in tellers]
        gr.on([*changes, page_context.blocks.load], fn=None, inputs=tellers, outputs=None, js=_OPTIONS_SCRIPT, **HIDDEN)
        saved = browser_memory.make_browser_state(page_context, "social-form", {})
        page_context.forms.append("social")
        restored = page_context.blocks.load(self._restore, saved, form.components(), **UNQUEUED)
        restored.then(fn=None, js="() => { window.easel.markRestored('social'); }", api_visibility="private").then(
            fn=None, inputs=tellers, outputs=None, js=_OPTIONS_SCRIPT, api_visibility="private"
        )
        page_context.blocks.load(self._attach, [panel.job, form["pattern"]], shown, **HIDDEN)
        browser_memory.remember_form("social", form, saved)
        page_context.send.add_target(
            "social", TITLE, tab=TITLE, outputs=[form["images"]], apply=self._receive_image, restored=restored
        )

    @show_errors
    def _export(self, packet: Any, request: gr.Request) -> Iterator[Updates]:
        values = self.form.values(packet)
        try:
            user = get_user(request)
            wanted = self._planner.plan_request(values, user)
        except StudioError as error:
            raise make_toast(error) from error
        yield from self._show_updates(
            run_request(self._studio.engine, self._panel, wanted, user, request.session_hash),
            user,
            values.get("pattern"),
        )

    @show_errors
    def reuse_settings(self, job_id: Any, request: gr.Request) -> Updates:
        """The form as it asked for the job that is shown: images, formats, crops and all the rest."""
        job_request = self._studio.engine.job(str(job_id or ""), get_user(request)).request
        export = next((step.social for step in (job_request, *job_request.then) if step.social is not None), None)
        if export is None:
            raise InvalidRequest("This job made no platform formats.", hint="Export first, then use its settings.")
        sources = job_request.batch or ((job_request.source,) if job_request.source else ())
        return self.form.make_all_updates(write_social(export, sources))

    @show_errors
    def _stop(self, job_id: Any, request: gr.Request) -> None:
        self._studio.engine.cancel(str(job_id), get_user(request))

    @show_errors
    def _attach(self, job_id: Any, pattern: Any, request: gr.Request) -> Iterator[Updates]:
        try:
            user = get_user(request)
            running = reattach_job(self._studio.engine, self._panel, job_id, user, request.session_hash)
            yield from self._show_updates(running, user, pattern)
        except StudioError as error:
            raise make_toast(error) from error

    def _show_updates(self, updates: Iterator[Updates], user: User, pattern: Any) -> Iterator[Updates]:
        """The updates of a job, and the table once the job has ended."""
        panel, job_id = self._panel, ""
        for each in updates:
            job_id = each.get(panel.job, job_id)
            button = each.get(panel.generate)
            if isinstance(button, dict) and "interactive" in button:
                busy = not button["interactive"]
                each[self._table] = (
                    "" if busy else self._render_results(job_id, user, str(pattern or fields.NAME_PATTERN))
                )
            yield each

    def _render_results(self, job_id: str, user: User, pattern: str) -> str:
        try:
            snapshot = self._studio.engine.job(job_id, user).snapshot
        except NotFound:
            return ""
        return render_results(
            snapshot.assets, self._parts.platforms.of(user.name), re.sub(r"[^\w{}\-/ .]", "", pattern)[:120]
        )

    @show_errors
    def _restore(self, kept: Any) -> Updates:
        return self.form.make_all_updates(browser_memory.filter_saved_values(kept, self.form))

    def _receive_image(self, sent_image: SentImage) -> Updates:
        return self.form.make_updates({"images": sent_image.image.hash})


def _build_router(studio: Studio) -> APIRouter | None:
    return None if studio.social is None else build_social_router(studio, studio.social)


TAB = Tab(title=TITLE, order=40, build=build_social_tab, build_router=_build_router)

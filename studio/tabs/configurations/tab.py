"""Configurations: models and memory, every setting, and what the studio says about itself. Administrators only."""

from __future__ import annotations

import importlib.metadata
import platform
from html import escape
from typing import Any

import gradio as gr

from studio import __version__
from studio.core.errors import Forbidden
from studio.core.self_check import Check
from studio.engine.studio import Studio
from studio.tabs.common.current_user import admin_of
from studio.tabs.common.events import AT_ONCE, QUIET, Updates, told
from studio.tabs.common.tab import Shell, Tab
from studio.tabs.configurations import cloud_services, model_manager, settings_form, weight_downloads

SHOWN_VERSIONS = ("gradio", "torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "pillow")
LOG_LINES = 200
FOR_ADMINS = '<p class="note">Only an administrator of this studio sees models and settings here.</p>'


def build(studio: Studio, shell: Shell) -> None:
    """Lay the tab out empty; an administrator's page is filled when it loads, so that nobody else finds the values in it."""
    note = gr.HTML(FOR_ADMINS)
    with gr.Column(visible=False, elem_classes="configurations") as desk:
        with gr.Column(elem_classes="desk desk-prompt"):
            gr.Markdown("### Models and memory")
            panel = model_manager.models_panel(studio)
        with gr.Column(elem_classes="desk desk-prompt"):
            gr.Markdown("### Weights to fetch")
            offers = weight_downloads.offers_panel(studio)
        with gr.Column(elem_classes="desk desk-prompt"):
            gr.Markdown("### Cloud providers and spending")
            clouds = cloud_services.clouds_panel(studio, shell)
        with gr.Column(elem_classes="desk desk-prompt"):
            gr.Markdown("### Settings")
            form = settings_form.settings_form(studio)
        with gr.Column(elem_classes="desk desk-prompt"):
            gr.Markdown("### Health")
            _health(studio)

    def fill(request: gr.Request) -> Updates:
        try:
            admin_of(request)
        except Forbidden:
            return {note: gr.update(visible=True)}
        filled = (
            settings_form.values(studio, form)
            | model_manager.refreshed(studio, *panel)
            | weight_downloads.filled(studio, *offers)
            | cloud_services.filled(studio, *clouds)
        )
        return {note: gr.update(visible=False), desk: gr.update(visible=True), **filled}

    shell.blocks.load(fill, None, [note, desk, *panel, *offers, *clouds, *form.components()], **AT_ONCE)


def _health(studio: Studio) -> None:
    with gr.Row(elem_classes="verbs"):
        look = gr.Button("Run the self-check", elem_id="doctor")
        read = gr.Button("Show the log", elem_id="show-log")
    checks, log = gr.HTML(_versions(), elem_id="checks"), gr.HTML(elem_id="log")

    @told
    def examine(request: gr.Request) -> str:
        admin_of(request)
        return _checks(studio.doctor()) + _versions()

    @told
    def tail(request: gr.Request) -> str:
        admin_of(request)
        lines = "\n".join(studio.engine.logs.tail(LOG_LINES))
        return f'<pre class="log" tabindex="0">{escape(lines) or "The log is empty."}</pre>'

    look.click(examine, None, checks, **QUIET | {"show_progress": "minimal"})
    read.click(tail, None, log, **QUIET)


def _checks(found: list[Check]) -> str:
    rows = "".join(
        f'<tr><td class="{"yes" if check.ok else "no"}">{"✓" if check.ok else "✗"}</td><td>{escape(check.name)}</td>'
        f"<td>{escape(check.text)}</td><td>{'' if check.ok else escape(check.hint)}</td></tr>"
        for check in found
    )
    return f'<div class="table-frame"><table class="plain">{rows}</table></div>'


def _versions() -> str:
    known: dict[str, Any] = {"Easel": __version__, "Python": platform.python_version()}
    known |= {name: importlib.metadata.version(name) for name in SHOWN_VERSIONS}
    return f'<p class="note">{escape(" · ".join(f"{name} {version}" for name, version in known.items()))}</p>'


TAB = Tab(title="Configurations", order=90, build=build)

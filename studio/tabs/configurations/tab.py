"""Configurations: models and memory, every setting, and what the studio says about itself, for administrators; the
caller's own API tokens and logins for everybody."""

from __future__ import annotations

import importlib.metadata
import platform
from html import escape
from typing import Any

import gradio as gr

from studio import __version__
from studio.core.rights import Right
from studio.core.self_check import Check
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user, requires
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, show_errors
from studio.tabs.common.image_fields import build_scripted_field
from studio.tabs.common.tab import PageContext, Tab
from studio.tabs.configurations import (
    api_tokens,
    chat_server,
    cloud_services,
    merge_panel,
    model_manager,
    settings_form,
    weight_downloads,
)

SHOWN_VERSIONS = ("gradio", "torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "pillow")
LOG_LINES = 200
PAGES = {"models": "Models", "cloud": "Cloud", "settings": "Settings", "users": "Users", "health": "Health"}
ADMIN_NOTE = '<p class="note">Only administrators can see models and settings.</p>'


def build_configurations_tab(studio: Studio, page_context: PageContext) -> None:
    """Lay the tab out empty; an administrator's page is filled when it loads, so that nobody else finds the values in
    it."""
    with gr.Column(elem_id="config", min_width=0):
        note = gr.HTML(ADMIN_NOTE)
        with gr.Column(visible=False, elem_classes="configurations") as view:
            build_scripted_field("configPages", "config-pages", pages=PAGES)
            with _build_page("models"):
                gr.Markdown("### Models and memory")
                panel = model_manager.build_models_panel(studio, page_context)
            with _build_page("models"):
                gr.Markdown("### Downloadable weights")
                weights_panel = weight_downloads.build_weights_panel(studio)
            with _build_page("models"), gr.Accordion("Merge checkpoints", open=False, elem_id="merge-checkpoints"):
                merge = merge_panel.build_merge_panel(studio)
            with _build_page("cloud"):
                gr.Markdown("### Cloud providers and spending")
                clouds = cloud_services.build_clouds_panel(studio, page_context)
            with _build_page("cloud"):
                gr.Markdown("### Language model for prompts")
                chat = chat_server.build_chat_panel(studio)
            with _build_page("settings"):
                gr.Markdown("### Settings")
                form = settings_form.build_settings_form(studio)
            with _build_page("health"):
                gr.Markdown("### Health")
                _build_health(studio)
        with _build_page("users"):
            tokens = api_tokens.build_tokens_panel(studio)
        with _build_page("users"):
            gr.Markdown("### Users")
            build_scripted_field("users", "users-panel")

    @show_errors
    def fill_page(request: gr.Request) -> Updates:
        user = get_user(request)
        own = api_tokens.fill_tokens_panel(studio, user.name, *tokens)
        if not user.may(Right.SETTINGS):
            return {note: gr.update(visible=True), **own}
        filled = (
            own
            | settings_form.fill_settings_form(studio, form)
            | model_manager.refresh_models_panel(studio, *panel)
            | weight_downloads.fill_weights_panel(studio, *weights_panel)
            | merge_panel.fill_merge_panel(studio, *merge)
            | cloud_services.fill_clouds_panel(studio, *clouds)
            | chat_server.fill_chat_panel(studio, *chat)
        )
        return {note: gr.update(visible=False), view: gr.update(visible=True), **filled}

    page_context.blocks.load(
        fill_page,
        None,
        [note, view, *tokens, *panel, *weights_panel, *merge, *clouds, *chat, *form.components()],
        **UNQUEUED,
    )


def _build_page(name: str) -> gr.Column:
    """A part of the page called `name` in PAGES; one page may have several."""
    return gr.Column(elem_classes=f"view-column view-prompt config-page config-{name}")


def _build_health(studio: Studio) -> None:
    with gr.Row(elem_classes="button-row"):
        look = gr.Button("Run self-check", elem_id="doctor")
        read = gr.Button("Show log", elem_id="show-log")
    checks, log = gr.HTML(_render_versions(), elem_id="checks"), gr.HTML(elem_id="log")

    @show_errors
    @requires(Right.SETTINGS)
    def examine(request: gr.Request) -> str:
        return _render_checks(studio.doctor()) + _render_versions()

    @show_errors
    @requires(Right.SETTINGS)
    def tail(request: gr.Request) -> str:
        lines = "\n".join(studio.engine.logs.read_tail(LOG_LINES))
        return f'<pre class="log" tabindex="0">{escape(lines) or "The log is empty."}</pre>'

    look.click(examine, None, checks, **HIDDEN | {"show_progress": "minimal"})
    read.click(tail, None, log, **HIDDEN)


def _render_checks(found: list[Check]) -> str:
    rows = "".join(
        f'<tr><td class="{"yes" if check.ok else "no"}">{"✓" if check.ok else "✗"}</td><td>{escape(check.name)}</td>'
        f"<td>{escape(check.text)}</td><td>{'' if check.ok else escape(check.hint)}</td></tr>"
        for check in found
    )
    return f'<div class="table-frame"><table class="plain">{rows}</table></div>'


def _render_versions() -> str:
    known: dict[str, Any] = {"Easel": __version__, "Python": platform.python_version()}
    known |= {name: importlib.metadata.version(name) for name in SHOWN_VERSIONS}
    return f'<p class="note">{escape(" · ".join(f"{name} {version}" for name, version in known.items()))}</p>'


TAB = Tab(title="Configurations", order=90, build=build_configurations_tab)

"""The Blocks page: look, header, row of tabs."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import Depends, FastAPI
from gradio import themes
from gradio.components import Component
from starlette.routing import Mount

import studio as package
from studio.engine.plugins import discover
from studio.engine.studio import Studio
from studio.serving.event_queue import replace_queue
from studio.serving.frontend_files import find_frontend_folder
from studio.serving.page_assets import PageAssets
from studio.serving.page_cache import PageCacheMiddleware
from studio.serving.page_head import (
    PageHeadMiddleware,
    list_first_files,
    read_styles,
    render_preloads,
    render_styles,
)
from studio.serving.page_language import PageLanguage, build_text_scripts, build_texts_router
from studio.serving.page_styles import scope_styles
from studio.serving.visit_states import replace_states
from studio.tabs.common import choice_lists, form_check, lora_cards, model_groups
from studio.tabs.common import image_routes as images
from studio.tabs.common.current_user import get_user
from studio.tabs.common.deferred_tabs import DeferringBlocks
from studio.tabs.common.events import HIDDEN, show_errors
from studio.tabs.common.languages import Languages
from studio.tabs.common.send_images import SendRegistry
from studio.tabs.common.tab import PageContext, Tab

ASSETS = Path(package.__file__).parent / "assets"
FIRST_STYLES = ("theme", "gradio", "layout", "controls", "form", "prompts", "result")  # of what is shown at first
LATER_STYLES = ("images", "tables", "templates", "pickers", "social", "library", "home", "help")  # of our modules
VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
STILL_OPEN = 6 * 3600.0  # s: how often an open page says which images it names
MAX_NAMED_IMAGES = 500  # of them
UPLOAD_CLEANUP = (3600, 6 * 3600)  # s: how often old uploads are looked for, and how old they may get

HEADER = """
<div class="top">
  <h1><a class="brand" href="./" aria-label="Easel, start page">
    <span class="mark" aria-hidden="true"></span><span>Easel</span>
  </a></h1>
  <nav class="top-links" aria-label="More">
    <button type="button" class="link" id="help-open" title="Help and shortcuts (?)">Help</button>
    <a href="api/docs" target="_blank" rel="noopener">API</a>{logout}
    <button type="button" class="theme-toggle" id="theme-toggle" aria-label="Switch between light and dark">◐</button>
  </nav>
</div>
"""
_OPEN_TAB_SCRIPT = "() => [{__type__: 'update', selected: window.easel.getWantedTab()}]"
LOGIN = '<a href="login" target="_blank" rel="noopener">Log in</a>'
LOGOUT = '<form method="post" action="logout"><button type="submit" class="link">Log out</button></form>'


def list_tabs() -> Sequence[Tab]:
    """All tabs, from left to right."""
    return sorted(discover("studio.tabs", "TAB"), key=lambda tab: tab.order)


def make_panel_id(tab: Tab) -> str:
    """The id of the tab's content; one with a space could not be referred to by `aria-controls`."""
    return f"tab-{tab.title.lower().replace(' ', '-')}"


def build_page(studio: Studio) -> tuple[DeferringBlocks, PageContext]:
    """The whole page, and the page that its tabs were built into. Imports no torch."""
    settings = studio.settings.current
    tabs = list_tabs()
    blocks = DeferringBlocks(title="Easel", analytics_enabled=False, fill_width=True, delete_cache=UPLOAD_CLEANUP)
    with blocks:
        logout = (LOGIN if settings.guests else "") + (LOGOUT if settings.auth_file or settings.guests else "")
        gr.HTML(HEADER.format(logout=logout), padding=False, elem_classes="top-frame")
        with gr.Column(elem_classes="store", min_width=0) as store:
            pass
        page_context = PageContext(blocks=blocks, store=store, send=SendRegistry(studio.engine, store))
        with gr.Tabs(elem_classes="tabs") as row:
            for tab in tabs:
                with gr.Tab(tab.title, id=tab.title.lower(), elem_id=make_panel_id(tab)) as place:
                    if tab is tabs[0]:
                        tab.build(studio, page_context)
                        continue
                    with blocks.defer_content(place):
                        tab.build(studio, dataclasses.replace(page_context, forms=[]))
        page_context.send.wire(row)
        _keep_named_images(studio, blocks, store)
        blocks.assign_events()
        with store:
            _add_tab_opener(row)
            _report_to(gr.JSON(visible=False), blocks)
    blocks.state_session_capacity = settings.session_limit  # launch() has a parameter for it, a mount has not
    blocks.queue(default_concurrency_limit=None, max_size=settings.queue_limit, api_open=True)
    replace_queue(blocks)
    blocks.complete()
    return blocks, page_context


def _add_tab_opener(row: gr.Tabs) -> None:
    """What the page's scripts press to open a tab (studio/assets/js/common/open_tab.js)."""
    opener = gr.Button("Open tab", elem_id="open-tab")
    opener.click(fn=None, inputs=[], outputs=[row], js=_OPEN_TAB_SCRIPT, api_visibility="private")


def _keep_named_images(studio: Studio, blocks: DeferringBlocks, store: gr.Column) -> None:
    """Let the images that the browser remembers count as used, once the page is up and while it stays open."""

    @show_errors
    def mark_used(remembered: Any, request: gr.Request) -> None:
        names = dict.fromkeys(re.findall(r"[0-9a-f]{64}", json.dumps(list(remembered.values()), default=str)))
        studio.engine.mark_used(list(names)[:MAX_NAMED_IMAGES], get_user(request))

    states = {child for child in store.children if isinstance(child, gr.BrowserState)}
    with blocks.add_later():
        timer = gr.Timer(STILL_OPEN)
    gr.on([blocks.load, timer.tick], mark_used, states, None, queue=False, **HIDDEN)


def _report_to(anchor: Component, blocks: gr.Blocks) -> None:
    """Let events that show no veil report their progress to `anchor` alone.

    At each step of any event Gradio's page looks for every component that an event ever reported to, through the whole
    tree; with the hundred fields of each form as such that took seven of the ten seconds in which the page came up.
    """
    for event in blocks.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = [anchor]


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """Put the page at "/" of `app`, whose guard has found out who calls."""
    settings = studio.settings.current
    languages = Languages()
    assets = PageAssets(ASSETS / "js", build_text_scripts(languages, ASSETS / "js"))
    language = PageLanguage(languages, lambda: studio.settings.current.interface_language, assets.get_address)
    app.include_router(assets.build_router())
    app.include_router(images.build_page_router(studio))
    for build_router in (
        choice_lists.build_lists_router,
        form_check.build_check_router,
        model_groups.build_groups_router,
        lora_cards.build_lora_router,
    ):
        app.include_router(build_router(studio), dependencies=[Depends(language.use_for_request)])
    app.include_router(build_texts_router(), dependencies=[Depends(language.use_for_request)])
    for tab in list_tabs():
        router = tab.build_router(studio) if tab.build_router is not None else None
        if router is not None:
            app.include_router(router)
    blocks, page_context = build_page(studio)
    blocks.find_texts = language.find_texts
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        auth_dependency=lambda request: request.scope["user"].name,
        root_path=settings.root_path or None,
        max_file_size=settings.max_upload_mb * 2**20,
        show_error=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        favicon_path=str(ASSETS / "mark.svg"),
        theme=build_theme(),
        head=VIEWPORT,
        ssr_mode=False,
        pwa=False,
    )
    mounted = next(route for route in reversed(app.routes) if isinstance(route, Mount))
    replace_states(mounted.app, blocks)
    hints, head = _render_head(blocks, assets, settings.theme, page_context.forms)
    mounted.app = PageHeadMiddleware(PageCacheMiddleware(mounted.app), hints, head, language.change_page)
    return app


def _render_head(blocks: DeferringBlocks, assets: PageAssets, theme: str, forms: Sequence[str]) -> tuple[str, str]:
    """HTML that fetches early what Gradio's page loads step by step; and what puts styles to use, and loads our scripts
    and theirs once one can type."""
    frontend = find_frontend_folder().parent
    first, following = (list_first_files(frontend, types) for types in blocks.list_first_types())
    later = [f"assets/{name}" for name in following if name not in first]
    theirs = read_styles(frontend, first)
    ours, of_modules = (scope_styles(read_own_styles(names), gr.__version__) for names in (FIRST_STYLES, LATER_STYLES))
    joined = assets.add_styles("\n".join((*theirs.values(), ours, blocks.theme_css)))
    loader = assets.render_head(
        theme=theme,
        forms=forms,
        theme_styles=f"theme.css?v={blocks.theme_hash}",
        styles=assets.add_styles(of_modules),
        following=later,
    )
    # A script behind styles waits for them.
    return (
        render_preloads((name for name in first if name.endswith(".js")), joined),
        loader + render_styles(theirs, joined),
    )


def read_own_styles(names: Sequence[str] = FIRST_STYLES + LATER_STYLES) -> str:
    """The text of our styles, in the order of `names`."""
    return "\n".join((ASSETS / "css" / f"{name}.css").read_text(encoding="utf-8") for name in names)


def build_theme() -> themes.Base:
    """Warm paper and ink, one accent; fonts are the system's, so that nothing is fetched."""
    sans = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    return themes.Base(
        primary_hue=themes.colors.orange,
        neutral_hue=themes.colors.stone,
        font=sans,
        font_mono=mono,
        radius_size=themes.sizes.radius_md,
        spacing_size=themes.sizes.spacing_sm,
        text_size=themes.sizes.text_sm,
    )

"""The Blocks shell: look, header, row of tabs; and the small picture files that the page shows by address."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse
from gradio import themes

import studio as package
from studio.core.errors import NotFound
from studio.core.user import User
from studio.engine.plugins import discover
from studio.engine.studio import Studio
from studio.tabs._tab import Shell, Tab

ASSETS = Path(package.__file__).parent / "assets"
KEEP_UPLOADS = (3600, 6 * 3600)  # s: how often old uploads are looked for, and how old they may get

HEADER = """
<header class="top">
  <a class="brand" href="./" aria-label="Easel, start page"><span class="mark" aria-hidden="true"></span><span>Easel</span></a>
  <nav class="top-links" aria-label="More">
    <a href="api/docs" target="_blank" rel="noopener">API</a>{logout}
    <button type="button" class="look" id="look" aria-label="Switch between light and dark">◐</button>
  </nav>
</header>
"""
LOGOUT = '<form method="post" action="logout"><button type="submit" class="link">Log out</button></form>'


def build(studio: Studio) -> gr.Blocks:
    """The whole page. Imports no torch."""
    settings = studio.settings.current
    tabs: Sequence[Tab] = sorted(discover("studio.tabs", "TAB"), key=lambda tab: tab.order)
    with gr.Blocks(title="Easel", analytics_enabled=False, fill_width=True, delete_cache=KEEP_UPLOADS) as blocks:
        gr.HTML(HEADER.format(logout=LOGOUT if settings.auth_file else ""), padding=False, elem_classes="top-frame")
        with gr.Tabs(elem_classes="tabs"):
            for tab in tabs:
                with gr.Tab(tab.title, id=tab.title.lower(), elem_id=f"tab-{tab.title.lower()}"):
                    tab.build(studio, Shell(blocks=blocks))
    blocks.state_session_capacity = settings.session_limit  # launch() has a parameter for it, a mount has not
    blocks.queue(default_concurrency_limit=None, max_size=settings.queue_limit, api_open=True)
    return blocks


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """Put the page at "/" of `app`, whose guard has found out who calls."""
    settings = studio.settings.current
    app.include_router(_pictures(studio))
    return gr.mount_gradio_app(
        app, build(studio), path="/", auth_dependency=lambda request: request.scope["user"].name,
        root_path=settings.root_path or None, max_file_size=settings.max_upload_mb * 2**20, show_error=False,
        enable_monitoring=False, run_history=False, footer_links=[], favicon_path=str(ASSETS / "mark.svg"),
        theme=theme(),
        css_paths=[ASSETS / "studio.css"], head=_head(settings.theme), ssr_mode=False, pwa=False,
    )  # fmt: skip


def theme() -> themes.Base:
    """Warm paper and ink, one accent; fonts are the system's, so that nothing is fetched."""
    sans = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    return themes.Base(
        primary_hue=themes.colors.orange, neutral_hue=themes.colors.stone, font=sans, font_mono=mono,
        radius_size=themes.sizes.radius_md, spacing_size=themes.sizes.spacing_sm, text_size=themes.sizes.text_sm,
    )  # fmt: skip


def _head(look: str) -> str:
    """The page's own script, inline because Gradio serves no other file of ours, and the look to begin with."""
    script = (ASSETS / "studio.js").read_text(encoding="utf-8")
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return f'{viewport}<script>window.easelLook = "{look}";\n{script}</script>'


def _pictures(studio: Studio) -> APIRouter:
    router = APIRouter(prefix="/page", include_in_schema=False)
    private = {"Cache-Control": "private, max-age=3600"}

    def caller(request: Request) -> User:
        return request.scope["user"]

    @router.get("/thumbs/{asset_id}")
    def thumb(asset_id: str, request: Request) -> FileResponse:
        return FileResponse(studio.engine.thumbnail(asset_id, caller(request)), headers=private)

    @router.get("/previews/{job_id}")
    def preview(job_id: str, request: Request) -> FileResponse:
        path = studio.engine.job(job_id, caller(request)).snapshot.preview
        if path is None or not path.is_file():
            raise NotFound("There is no preview of this job now.", hint="It ended, or previews are off.")
        return FileResponse(path, headers={"Cache-Control": "no-store"})

    return router

"""The Home tab: what was made last, what is running, what it cost, and where to go on.

It is a page of our own script (studio/assets/js/home), which asks `home_routes` and the library for what it shows.
"""

from __future__ import annotations

import gradio as gr

from studio.engine.studio import Studio
from studio.tabs.common.image_fields import build_scripted_field
from studio.tabs.common.tab import PageContext, Tab
from studio.tabs.home.home_routes import build_home_router


def build_home_tab(studio: Studio, page_context: PageContext) -> None:
    """Build the tab; its script fills it."""
    build_scripted_field("home", "home")
    with gr.Column(elem_classes="store", min_width=0):
        reuse = gr.Button("Use all settings", elem_id="home-reuse")
    page_context.send.wire_settings_button(reuse)


TAB = Tab(title="Home", order=95, build=build_home_tab, build_router=build_home_router)

"""The Library tab: every image that was made here or imported.

The page's own script shows it over the HTTP API (studio/assets/js/library), so that a library of any size costs a
handful of components. The Gradio buttons here are out of sight; the script presses them to send an image to another
tab.
"""

from __future__ import annotations

import gradio as gr

from studio.engine.studio import Studio
from studio.tabs.common.image_fields import build_scripted_field
from studio.tabs.common.tab import PageContext, Tab


def build_library_tab(studio: Studio, page_context: PageContext) -> None:
    """Build the tab and let its images be sent to the other tabs' forms."""
    build_scripted_field("library", "library")
    with gr.Column(elem_classes="store", min_width=0):
        page_context.send.add_send_buttons("library")
        reuse = gr.Button("Use all settings", elem_id="library-reuse")
    page_context.send.wire_settings_button(reuse)


TAB = Tab(title="Library", order=60, build=build_library_tab)

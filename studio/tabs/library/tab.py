"""The Library tab: every image that was made here or imported.

What one sees is the page's own script over the HTTP API (studio/assets/js/library), so that a library of any size costs
the page a handful of components. The Gradio buttons here are out of sight; the script presses them to send an image to
another tab.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user
from studio.tabs.common.image_fields import build_scripted_field
from studio.tabs.common.restore_settings import find_drawing_request
from studio.tabs.common.send_images import SentImage
from studio.tabs.common.tab import PageContext, Tab

_SHOWN_IMAGE = "async () => [await window.easel.getShownImage()]"


def build_library_tab(studio: Studio, page_context: PageContext) -> None:
    """Lay the tab out and offer the other tabs' forms for its images."""
    build_scripted_field("library", "library")
    with gr.Column(elem_classes="store", elem_id="library-send", min_width=0):
        page_context.send.add_send_buttons("library")
        reuse = gr.Button("Use all settings", elem_id="library-reuse")
    shown = gr.Textbox(visible=False)

    def give_settings(asset_id: Any, request: gr.Request) -> SentImage:
        user = get_user(request)
        asset = studio.engine.asset(str(asset_id), user)
        drew = find_drawing_request((*asset.history, asset.request), asset.infotext)
        if drew is None:
            raise InvalidRequest("This image has no settings.", hint="Send the image alone instead.")
        return SentImage(image=studio.engine.keep_asset(asset.id, user), request=drew)

    page_context.send.register_button(reuse, "txt2img", inputs=shown, make_sent_image=give_settings, script=_SHOWN_IMAGE)


TAB = Tab(title="Library", order=60, build=build_library_tab)

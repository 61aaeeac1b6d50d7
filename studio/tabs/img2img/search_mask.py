"""Search by words on Img2Img: what words name is found, and shown as a mask that can be mended, before anything is
painted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import InvalidRequest, StudioError
from studio.core.model_ids import PREPROCESSOR_PREFIX
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.engine.studio import Studio
from studio.tabs.common import image_fields
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, Updates, make_toast, show_errors
from studio.tabs.common.form import Form
from studio.tabs.common.map_previews import make_map

FINDER = f"{PREPROCESSOR_PREFIX}words"


def build_search_fields(prefix: str) -> tuple[dict[str, Component], gr.Button, gr.HTML]:
    """The words, the button that finds what they name, and the note about the result."""
    words = gr.Textbox(
        label="Search for",
        elem_id=f"{prefix}search",
        max_lines=2,
        max_length=2000,
        placeholder="the red car",
        info="Object to change; separate several with commas.",
    )
    button = gr.Button("Find and show mask", size="sm", elem_id=f"{prefix}find", elem_classes="waits")
    note_html = gr.HTML("", elem_id=f"{prefix}found")
    return {"search": words}, button, note_html


def wire_search(studio: Studio, form: Form, button: gr.Button, note_html: gr.HTML) -> None:
    """Let the button put the mask of what the words name onto the form."""

    @show_errors
    def find_mask(packet: Any, request: gr.Request) -> Iterator[Updates]:
        yield {note_html: '<p class="note" role="status">Searching…</p>'}
        try:
            user = get_user(request)
            asset = make_map(studio, build_search_request(form.values(packet)), user)
            mask = studio.engine.keep_asset(asset.id, user).hash
        except StudioError as error:
            yield {note_html: ""}
            raise make_toast(error) from error
        note = "Mask created. Correct it with the brush, or press Generate."
        yield {form["mask"]: mask, note_html: f'<p class="note" role="status">{note}</p>'}

    form.on(button.click, find_mask, [form["mask"], note_html], **HIDDEN)


def build_search_request(values: Mapping[str, Any]) -> GenerationRequest:
    """The request for the mask of what the form's words name in its image.

    Raises:
        InvalidRequest: no words, or no image.
    """
    words, source = str(values["search"] or "").strip(), image_fields.read_single_image(values["source"])
    if source is None:
        raise InvalidRequest("No image to search in.", hint="Drop an image on the form first.")
    if not words:
        raise InvalidRequest("Nothing to search for was given.", hint="Enter what to search for.")
    unit = {"preprocessor": FINDER.removeprefix(PREPROCESSOR_PREFIX)}
    data = {"task": Task.PREPROCESS, "model": FINDER, "source": source, "search": words, "control": [unit]}
    return GenerationRequest.from_json(data)

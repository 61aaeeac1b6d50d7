"""Weights that can be fetched on request: what for, how large, under which licence; the fetch itself with its
progress."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.rights import Right
from studio.core.weights import DownloadableWeights
from studio.engine.studio import Studio
from studio.tabs.common.current_user import requires
from studio.tabs.common.events import HIDDEN, Updates, show_errors
from studio.tabs.common.tables import render_table
from studio.tabs.configurations.model_manager import DOWNLOAD_POLL_SECONDS, format_size, render_downloads

_USES = {
    "upscalers": "upscaling",
    "restorers": "faces",
    "preprocessors": "control maps, search, captions",
    "background": "removing backgrounds",
}


def build_weights_panel(studio: Studio) -> tuple[gr.HTML, gr.Dropdown]:
    """The table and the choice, filled by `fill_weights_panel`."""
    gr.Markdown("Select weights and press Download.", elem_classes="hint")
    with gr.Row(elem_classes="pair"):
        chosen = gr.Dropdown([], value=None, label="Weights", elem_id="offer", min_width=220, allow_custom_value=True)
        with gr.Row(elem_classes="button-row"):
            fetch = gr.Button("Download", elem_id="fetch-offer", min_width=90)
            cancel = gr.Button("Cancel", elem_id="cancel-offer", min_width=90)
    state = gr.HTML(elem_id="offer-progress")
    with gr.Accordion("Available weights", open=False, elem_id="offers-fold"):
        table = gr.HTML(elem_id="offers")
    timer = gr.Timer(DOWNLOAD_POLL_SECONDS, active=False)

    @show_errors
    @requires(Right.DOWNLOAD)
    def start_download(weights_id: Any, request: gr.Request) -> Updates:
        if not weights_id:
            raise InvalidRequest("No weights selected.", hint="Select an entry in the list.")
        studio.store.fetch(str(weights_id))
        return {timer: gr.Timer(active=True), state: render_downloads(_list_downloads(studio, str(weights_id)))}

    @show_errors
    @requires(Right.DOWNLOAD)
    def cancel_download(weights_id: Any, request: gr.Request) -> Updates:
        studio.store.cancel_download(str(weights_id))
        return {state: render_downloads(_list_downloads(studio, str(weights_id)))}

    @show_errors
    @requires(Right.DOWNLOAD)
    def poll_download(weights_id: Any, request: gr.Request) -> Updates:
        seen = _list_downloads(studio, str(weights_id))
        updates: Updates = {state: render_downloads(seen)}
        if any(not one.finished for one in seen):
            return updates
        return updates | {timer: gr.Timer(active=False)} | fill_weights_panel(studio, table, chosen)

    fetch.click(start_download, chosen, [timer, state], **HIDDEN)
    cancel.click(cancel_download, chosen, state, **HIDDEN)
    timer.tick(poll_download, chosen, [timer, state, table, chosen], **HIDDEN)
    return table, chosen


def fill_weights_panel(studio: Studio, table: gr.HTML, chosen: gr.Dropdown) -> Updates:
    """The updates that list the weights that can be downloaded now."""
    available = studio.store.list_downloadable_weights()
    choices = [(f"{weights.title} · {format_size(weights.bytes)}", weights.id) for weights in available]
    return {table: render_weights_table(available), chosen: gr.update(choices=choices)}


def render_weights_table(available: Sequence[DownloadableWeights]) -> str:
    """The downloadable weights as a table in HTML."""
    if not available:
        return '<p class="note">All known weights are installed.</p>'
    return render_table(("Weights", "For", "Size", "Licence", "From"), map(_list_weights_cells, available))


def _list_weights_cells(weights: DownloadableWeights) -> list[str]:
    cells = (
        weights.title,
        _USES.get(weights.folder, weights.folder),
        format_size(weights.bytes),
        weights.licence,
        weights.source,
    )
    return list(map(escape, cells))


def _list_downloads(studio: Studio, weights_id: str) -> list[Any]:
    return [one for one in studio.store.list_downloads() if one.repo_id == weights_id or not one.finished]

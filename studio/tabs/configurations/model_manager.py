"""The models on Configurations: what is there, what is resident, and what is being fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from studio.core.model import GPU_LANE
from studio.core.ports import DownloadState
from studio.core.rights import Right
from studio.core.weights import WeightFile, WeightKind
from studio.engine.studio import Studio
from studio.tabs.common.current_user import requires
from studio.tabs.common.events import HIDDEN, Updates, show_errors, show_info
from studio.tabs.common.tab import PageContext
from studio.tabs.common.tables import render_table

DOWNLOAD_POLL_SECONDS = 1.0  # s between two looks at running downloads
HASH_CHARACTERS = 10
_NETWORK_TITLES = {
    "unet": "UNet",
    "transformer": "transformer",
    "decoder": "VAE",
    "encoder": "VAE encoder",
    "upscaler": "upscaler",
}


def build_models_panel(studio: Studio, page_context: PageContext) -> tuple[gr.HTML, gr.HTML, gr.Dropdown]:
    """Table, memory and the choice of a model, filled by `refreshed`."""
    memory = gr.HTML(elem_id="memory")
    table = gr.HTML(elem_id="models-table")
    with gr.Row(elem_classes="pair"):
        chosen = gr.Dropdown(
            [],
            label="Model",
            elem_id="config-model",
            info="The buttons apply to this entry.",
            min_width=200,
            allow_custom_value=True,
        )
        with gr.Row(elem_classes="button-row"):
            load, unload = (
                gr.Button("Load", elem_id="load-model", min_width=70),
                gr.Button("Unload", elem_id="unload-model", min_width=70),
            )
            digest, again = (
                gr.Button("Hash", elem_id="hash-model", min_width=70),
                gr.Button("Refresh", elem_id="refresh-models", min_width=70),
            )
    shown: list[Any] = [table, memory, chosen]

    def make_handler(work: Callable[[str], None], done: str) -> Callable[..., Updates]:
        @show_errors
        @requires(Right.SETTINGS)
        def handler(model_id: Any, request: gr.Request) -> Updates:
            work(str(model_id))
            show_info(done)
            return refresh_models_panel(studio, table, memory, chosen)

        return handler

    lane = studio.engine.run_in_lane
    actions: dict[gr.Button, Callable[..., Updates]] = {
        load: make_handler(lambda name: lane(GPU_LANE, lambda ctx: studio.store.load(name, ctx)), "Model loaded."),
        unload: make_handler(lambda name: lane(GPU_LANE, lambda _: studio.store.unload(name)), "Model unloaded."),
        digest: make_handler(lambda name: _discard_hash(studio.store.sha256(name)), "Hash computed."),
        again: make_handler(lambda _: _refresh_models(studio), "The model list is up to date."),
    }
    for button, handler in actions.items():
        done = button.click(handler, chosen, shown, **HIDDEN | {"show_progress": "minimal"})
        if button is again:
            page_context.refresh_lists_after(done)
    _build_downloads(studio, shown)
    return table, memory, chosen


def refresh_models_panel(studio: Studio, table: gr.HTML, memory: gr.HTML, chosen: gr.Dropdown) -> Updates:
    """The table, the memory and the choices as they are now."""
    weights = studio.store.weights()
    names = sorted(weight.name for weight in weights if weight.kind is WeightKind.CHECKPOINT)
    return {
        table: _render_models_table(studio, weights),
        memory: _render_memory(studio),
        chosen: gr.update(choices=names, value=studio.engine.model("").id if names else None),
    }


def _refresh_models(studio: Studio) -> None:
    """Look at the model folders, and ask servers of one's own for their models."""
    studio.store.refresh()
    if studio.clouds is not None:
        studio.clouds.refresh_models()


def _discard_hash(_: str) -> None:
    """The hash itself is read from the table."""


def _build_downloads(studio: Studio, shown: list[Any]) -> None:
    with gr.Row(elem_classes="pair"):
        repo = gr.Textbox(
            label="Download from Hugging Face",
            placeholder="org/name",
            elem_id="repo-id",
            max_lines=1,
            min_width=220,
            info="A diffusers repo id, or org/name/file.safetensors.",
        )
        with gr.Row(elem_classes="button-row"):
            fetch, cancel = (
                gr.Button("Download", elem_id="download", min_width=90),
                gr.Button("Cancel", elem_id="cancel-download", min_width=90),
            )
    bars = gr.HTML(elem_id="downloads")
    timer = gr.Timer(DOWNLOAD_POLL_SECONDS, active=False)

    @show_errors
    @requires(Right.DOWNLOAD)
    def start_download(repo_id: Any, request: gr.Request) -> Updates:
        studio.store.download(str(repo_id).strip())
        return {timer: gr.Timer(active=True), bars: render_downloads(studio.store.list_downloads())}

    @show_errors
    @requires(Right.DOWNLOAD)
    def cancel_download(repo_id: Any, request: gr.Request) -> Updates:
        studio.store.cancel_download(str(repo_id).strip())
        return {bars: render_downloads(studio.store.list_downloads())}

    @show_errors
    @requires(Right.DOWNLOAD)
    def poll_downloads(request: gr.Request) -> Updates:
        busy = any(not state.finished for state in studio.store.list_downloads())
        updates: Updates = {bars: render_downloads(studio.store.list_downloads())}
        return updates if busy else updates | {timer: gr.Timer(active=False)} | refresh_models_panel(studio, *shown)

    fetch.click(start_download, repo, [timer, bars], **HIDDEN)
    cancel.click(cancel_download, repo, bars, **HIDDEN)
    timer.tick(poll_downloads, None, [timer, bars, *shown], **HIDDEN)


def _render_models_table(studio: Studio, weights: Any) -> str:
    resident = {one.model for one in studio.store.get_memory_report().resident}
    rows = [
        _list_model_cells(weight, weight.name in resident)
        for weight in sorted(weights, key=lambda one: (one.kind, one.name))
    ]
    return render_table(("Name", "Kind", "Family", "Size", "Hash", "State"), rows)


def _list_model_cells(weight: WeightFile, resident: bool) -> list[str]:
    state = '<span class="yes">in memory</span>' if resident else '<span class="quiet">on disk</span>'
    if weight.problem:
        state = f'<span class="no">{escape(weight.problem)}</span>'
    cells = (
        weight.name,
        weight.kind,
        weight.family or "–",
        format_size(weight.bytes),
        weight.sha256[:HASH_CHARACTERS] or "–",
    )
    return [*map(escape, cells), state]


def _render_memory(studio: Studio) -> str:
    report = studio.store.get_memory_report()
    held = sum(one.bytes for one in report.resident)
    bars = "".join(
        f'<span style="width:{100 * one.bytes / max(report.budget, 1):.2f}%" title="{escape(one.title)}:'
        f' {format_size(one.bytes)}"></span>'
        for one in report.resident
    )
    rows = "".join(
        f'<tr><td data-label="In memory">{escape(one.title)}</td>'
        f'<td data-label="Size">{format_size(one.bytes)}</td>'
        f'<td data-label="State">{"in use" if one.in_use else f"idle for {one.idle:.0f} s"}</td>'
        f'<td data-label="Faster by">{_describe_gains(one.gains) or "–"}</td></tr>'
        for one in report.resident
    )
    text = (
        f"{report.device}: {format_size(held)} of {format_size(report.budget)} for models; {format_size(report.free)}"
        f" of {format_size(report.total)} free on the device"
    )
    return (
        f'<p class="note">{escape(text)}</p><div class="meter" role="img"'
        f' aria-label="{escape(text)}">{bars}</div><table class="plain as-cards">{rows}</table>'
    )


def _describe_gains(gains: Mapping[str, float]) -> str:
    """What was measured of OpenVINO against torch, empty before anything was."""
    parts = [f"{_NETWORK_TITLES[name]} {gain:.1f} × as fast" for name, gain in gains.items()]
    return f"OpenVINO: {', '.join(parts)}" if parts else ""


def render_downloads(downloads: Sequence[DownloadState]) -> str:
    """Each download with its bar, in HTML."""
    return "".join(_render_download(state) for state in downloads)


def _render_download(state: DownloadState) -> str:
    percent = 100 * state.done / state.total if state.total else 0
    text = state.error or (
        "finished"
        if state.finished
        else f"{format_size(state.done)} of {format_size(state.total) if state.total else '?'}"
    )
    style = "no" if state.error else "quiet"
    return (
        f'<p class="note"><b>{escape(state.repo_id)}</b> <span class="{style}">{escape(text)}</span></p>'
        f'<div class="bar"><span style="width:{percent:.1f}%"></span></div>'
    )


def format_size(count: int) -> str:
    """Bytes in the unit that reads best."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1024:.0f} KiB"

"""The models on Configurations: what is there, what is resident, and what is being fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from studio.core.model import GPU_LANE
from studio.core.ports import DownloadState
from studio.core.weights import Kind, WeightFile
from studio.engine.studio import Studio
from studio.tabs.common.current_user import admin_of
from studio.tabs.common.events import QUIET, Updates, told

LOOK_EVERY = 1.0  # s between two looks at running downloads
HASH_SHOWN = 10


def models_panel(studio: Studio) -> tuple[gr.HTML, gr.HTML, gr.Dropdown]:
    """Table, memory and the choice of a model, filled by `refreshed`."""
    memory = gr.HTML(elem_id="memory")
    table = gr.HTML(elem_id="models-table")
    with gr.Row(elem_classes="pair"):
        chosen = gr.Dropdown(
            [],
            label="Model",
            elem_id="config-model",
            info="What the buttons act on.",
            min_width=200,
            allow_custom_value=True,
        )
        with gr.Row(elem_classes="verbs"):
            load, unload = (
                gr.Button("Load", elem_id="load-model", min_width=70),
                gr.Button("Unload", elem_id="unload-model", min_width=70),
            )
            digest, again = (
                gr.Button("Hash", elem_id="hash-model", min_width=70),
                gr.Button("Refresh", elem_id="refresh-models", min_width=70),
            )
    shown: list[Any] = [table, memory, chosen]

    def acting(work: Callable[[str], None], done: str) -> Callable[..., Updates]:
        @told
        def handler(model_id: Any, request: gr.Request) -> Updates:
            admin_of(request)
            work(str(model_id))
            gr.Info(done)
            return refreshed(studio, table, memory, chosen)

        return handler

    lane = studio.engine.in_lane
    actions: dict[gr.Button, Callable[..., Updates]] = {
        load: acting(lambda name: lane(GPU_LANE, lambda ctx: studio.store.load(name, ctx)), "The model is in memory."),
        unload: acting(lambda name: lane(GPU_LANE, lambda _: studio.store.unload(name)), "The model left the memory."),
        digest: acting(lambda name: _keep(studio.store.sha256(name)), "The hash is in the table."),
        again: acting(lambda _: studio.store.refresh(), "Looked at the folders again."),
    }
    for button, handler in actions.items():
        button.click(handler, chosen, shown, **QUIET | {"show_progress": "minimal"})
    _downloads(studio, shown)
    return table, memory, chosen


def refreshed(studio: Studio, table: gr.HTML, memory: gr.HTML, chosen: gr.Dropdown) -> Updates:
    """The table, the memory and the choices as they are now."""
    weights = studio.store.weights()
    names = sorted(weight.name for weight in weights if weight.kind is Kind.CHECKPOINT)
    return {
        table: _table(studio, weights),
        memory: _memory(studio),
        chosen: gr.update(choices=names, value=studio.engine.model("").id if names else None),
    }


def _keep(_: str) -> None:
    """The hash itself is read from the table."""


def _downloads(studio: Studio, shown: list[Any]) -> None:
    with gr.Row(elem_classes="pair"):
        repo = gr.Textbox(
            label="Download from the hub", placeholder="org/name", elem_id="repo-id", max_lines=1, min_width=220,
            info="A diffusers repo id, or org/name/file.safetensors. Nothing is fetched before you press Download.",
        )  # fmt: skip
        with gr.Row(elem_classes="verbs"):
            fetch, cancel = (
                gr.Button("Download", elem_id="download", min_width=90),
                gr.Button("Cancel", elem_id="cancel-download", min_width=90),
            )
    bars = gr.HTML(elem_id="downloads")
    timer = gr.Timer(LOOK_EVERY, active=False)

    @told
    def begin(repo_id: Any, request: gr.Request) -> Updates:
        admin_of(request)
        studio.store.download(str(repo_id).strip())
        return {timer: gr.Timer(active=True), bars: progress(studio.store.downloads())}

    @told
    def end(repo_id: Any, request: gr.Request) -> Updates:
        admin_of(request)
        studio.store.cancel_download(str(repo_id).strip())
        return {bars: progress(studio.store.downloads())}

    @told
    def look(request: gr.Request) -> Updates:
        admin_of(request)
        busy = any(not state.finished for state in studio.store.downloads())
        updates: Updates = {bars: progress(studio.store.downloads())}
        return updates if busy else updates | {timer: gr.Timer(active=False)} | refreshed(studio, *shown)

    fetch.click(begin, repo, [timer, bars], **QUIET)
    cancel.click(end, repo, bars, **QUIET)
    timer.tick(look, None, [timer, bars, *shown], **QUIET)


def _table(studio: Studio, weights: Any) -> str:
    resident = {one.model for one in studio.store.memory().resident}
    rows = "".join(
        _row(weight, weight.name in resident) for weight in sorted(weights, key=lambda one: (one.kind, one.name))
    )
    head = "<tr><th>Name</th><th>Kind</th><th>Family</th><th>Size</th><th>Hash</th><th>State</th></tr>"
    return f'<div class="table-frame"><table class="plain"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _row(weight: WeightFile, resident: bool) -> str:
    state = '<span class="yes">in memory</span>' if resident else '<span class="quiet">on disk</span>'
    if weight.problem:
        state = f'<span class="no">{escape(weight.problem)}</span>'
    cells = (weight.name, weight.kind, weight.family or "–", size(weight.bytes), weight.sha256[:HASH_SHOWN] or "–")
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}<td>{state}</td></tr>"


def _memory(studio: Studio) -> str:
    report = studio.store.memory()
    held = sum(one.bytes for one in report.resident)
    bars = "".join(
        f'<span style="width:{100 * one.bytes / max(report.budget, 1):.2f}%" title="{escape(one.title)}: {size(one.bytes)}"></span>'
        for one in report.resident
    )
    rows = "".join(
        f"<tr><td>{escape(one.title)}</td><td>{size(one.bytes)}</td><td>{'at work' if one.in_use else f'idle for {one.idle:.0f} s'}</td></tr>"
        for one in report.resident
    )
    text = f"{report.device}: {size(held)} of {size(report.budget)} for models; {size(report.free)} of {size(report.total)} free on the device"
    return f'<p class="note">{escape(text)}</p><div class="meter" role="img" aria-label="{escape(text)}">{bars}</div><table class="plain">{rows}</table>'


def progress(downloads: Sequence[DownloadState]) -> str:
    """Each download with its bar, in HTML."""
    return "".join(_download(state) for state in downloads)


def _download(state: DownloadState) -> str:
    percent = 100 * state.done / state.total if state.total else 0
    text = state.error or (
        "finished" if state.finished else f"{size(state.done)} of {size(state.total) if state.total else '?'}"
    )
    style = "no" if state.error else "quiet"
    return (
        f'<p class="note"><b>{escape(state.repo_id)}</b> <span class="{style}">{escape(text)}</span></p>'
        f'<div class="bar"><span style="width:{percent:.1f}%"></span></div>'
    )


def size(count: int) -> str:
    """Bytes in the unit that reads best."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1024:.0f} KiB"

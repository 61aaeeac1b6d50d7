"""Merging checkpoints on Configurations: which, how strongly, in which blocks; progress and stop."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.merges import MergeMethod, MergePrecision, MergeRecipe
from studio.core.rights import Right
from studio.core.weights import WeightKind
from studio.engine.studio import Studio
from studio.tabs.common.current_user import requires
from studio.tabs.common.events import HIDDEN, Updates, show_errors
from studio.tabs.configurations.model_manager import DOWNLOAD_POLL_SECONDS, render_downloads


def build_merge_panel(studio: Studio) -> tuple[gr.Dropdown, gr.Dropdown, gr.Dropdown]:
    """The three choices of checkpoints, filled by `fill_merge_panel`."""
    with gr.Row():
        choices = tuple(_build_choice(letter) for letter in "ABC")
    with gr.Row():
        method = gr.Radio([*MergeMethod], value=MergeMethod.WEIGHTED, label="Method", elem_id="merge-method")
        amount = gr.Slider(0, 2, 0.5, step=0.01, label="Amount of B", elem_id="merge-amount")
    with gr.Row():
        blocks = gr.Textbox(
            label="Block weights",
            placeholder="IN00-IN05: 0.2, M00: 0.5, OUT03: 1",
            info="Amounts of single blocks; or 20 (XL) or 26 numbers.",
            elem_id="merge-blocks",
            max_lines=2,
        )
        precision = gr.Dropdown(
            [*MergePrecision], value=MergePrecision.F16, label="Number format", elem_id="merge-precision"
        )
    with gr.Row(elem_classes="pair"):
        name = gr.Textbox(label="Name", placeholder="my-merge", elem_id="merge-name", max_lines=1, min_width=220)
        with gr.Row(elem_classes="button-row"):
            start = gr.Button("Merge", elem_id="merge-start", min_width=90)
            stop = gr.Button("Stop", elem_id="merge-stop", min_width=90)
    bars = gr.HTML(elem_id="merge-progress")
    timer = gr.Timer(DOWNLOAD_POLL_SECONDS, active=False)

    @show_errors
    @requires(Right.SETTINGS)
    def start_merge(request: gr.Request, *values: Any) -> Updates:
        recipe = _read_recipe(values)
        studio.store.merge(recipe)
        return {timer: gr.Timer(active=True), bars: _render_progress(studio, recipe.name)}

    @show_errors
    @requires(Right.SETTINGS)
    def stop_merge(wanted: Any, request: gr.Request) -> Updates:
        studio.store.cancel_download(str(wanted).strip())
        return {bars: _render_progress(studio, str(wanted).strip())}

    @show_errors
    @requires(Right.SETTINGS)
    def poll_merge(wanted: Any, request: gr.Request) -> Updates:
        updates: Updates = {bars: _render_progress(studio, str(wanted).strip())}
        if any(not one.finished for one in studio.store.list_downloads()):
            return updates
        return updates | {timer: gr.Timer(active=False)} | fill_merge_panel(studio, *choices)

    start.click(start_merge, [*choices, method, amount, blocks, precision, name], [timer, bars], **HIDDEN)
    stop.click(stop_merge, name, bars, **HIDDEN)
    timer.tick(poll_merge, name, [timer, bars, *choices], **HIDDEN)
    return choices  # type: ignore[return-value]


def fill_merge_panel(studio: Studio, *choices: gr.Dropdown) -> Updates:
    """The updates that list the checkpoints that are single files."""
    names = sorted(
        weight.name
        for weight in studio.store.weights()
        if weight.kind is WeightKind.CHECKPOINT and weight.family and weight.path.suffix.lower() == ".safetensors"
    )
    return {choice: gr.update(choices=names) for choice in choices}


def _build_choice(letter: str) -> gr.Dropdown:
    info = {"A": "What is changed.", "B": "What comes in.", "C": "What B was made from; for add difference."}[letter]
    return gr.Dropdown(
        [],
        value=None,
        label=f"Checkpoint {letter}",
        info=info,
        elem_id=f"merge-{letter.lower()}",
        min_width=200,
        allow_custom_value=True,
    )


def _read_recipe(values: tuple[Any, ...]) -> MergeRecipe:
    """The recipe that the form says.

    Raises:
        InvalidRequest: a method, format or number that is none.
    """
    first, second, third, method, amount, blocks, precision, name = values[:8]
    try:
        return MergeRecipe(
            name=str(name or "").strip(),
            first=str(first or ""),
            second=str(second or ""),
            third=str(third or ""),
            method=MergeMethod(method),
            amount=float(amount),
            blocks=str(blocks or ""),
            precision=MergePrecision(precision),
        )
    except (TypeError, ValueError) as error:
        raise InvalidRequest("The merge cannot be read.", hint="Choose method, amount and format again.") from error


def _render_progress(studio: Studio, name: str) -> str:
    return render_downloads([one for one in studio.store.list_downloads() if one.repo_id == name])

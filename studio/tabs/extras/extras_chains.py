"""Chains of steps that the user named: kept by the studio, used again here and elsewhere; they go out and come in as JSON too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.engine.jobs.saved_chains import LONGEST_NAME, Chains, steps_of
from studio.tabs.common.current_user import user_of
from studio.tabs.common.events import AT_ONCE, QUIET, Updates, told
from studio.tabs.common.form import Form
from studio.tabs.common.tab import Shell

_MOST_TEXT = 100_000  # characters of JSON
_WHENCE = "Paste what “Save the ticked steps” wrote."


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The fold's widgets."""

    chosen: gr.Dropdown
    name: gr.Textbox
    text: gr.Code
    load: gr.Button
    save: gr.Button
    drop: gr.Button
    take: gr.Button


def chains_fold(prefix: str) -> Fold:
    """The widgets, wired by `wire`."""
    with gr.Row(elem_classes="pair chain-row"):
        name = gr.Textbox(
            label="Name", max_lines=1, max_length=LONGEST_NAME, elem_id=f"{prefix}chain-name", min_width=120, placeholder="Web pictures"
        )  # fmt: skip
        save = gr.Button("Save the ticked steps", elem_id=f"{prefix}chain-save", min_width=120)
    with gr.Row(elem_classes="pair chain-row"):
        chosen = gr.Dropdown(
            [], value=None, label="Saved chains", elem_id=f"{prefix}chain", min_width=120, allow_custom_value=True
        )
        with gr.Row(elem_classes="verbs"):
            load = gr.Button("Load", elem_id=f"{prefix}chain-load", min_width=60)
            drop = gr.Button("Delete", elem_id=f"{prefix}chain-delete", min_width=60)
    gr.Markdown("Txt2Img and Img2Img take a saved chain as *Afterwards*, HTTP as `chain`.", elem_classes="hint")
    with gr.Accordion("As JSON", open=False, elem_id=f"{prefix}chain-json"):
        text = gr.Code("", language="json", show_label=False, lines=4, max_lines=14, elem_id=f"{prefix}chain-text")
        take = gr.Button("Use this JSON", size="sm", elem_id=f"{prefix}chain-take")
    return Fold(chosen=chosen, name=name, text=text, load=load, save=save, drop=drop, take=take)


class Page(Protocol):
    """What the fold asks of the tab: the steps of its values, and the updates, of `outputs`, that put steps onto it."""

    outputs: set[Any]

    @property
    def form(self) -> Form: ...

    def steps(self, values: dict[str, Any]) -> Sequence[GenerationRequest]: ...

    def filled(self, steps: Sequence[GenerationRequest]) -> Updates: ...


def wire(shell: Shell, fold: Fold, page: Page, kept: Chains) -> None:
    """Save, load, delete, and JSON in."""
    named = Form({**page.form.fields, "chain_name": fold.name})

    def listed(request: gr.Request, chosen: str | None = None) -> dict[str, Any]:
        return gr.update(choices=kept.names(user_of(request).name), value=chosen)

    @told
    def save(packet: Any, request: gr.Request) -> Updates:
        values = named.values(packet)
        made = page.steps(values)
        name = kept.save(user_of(request).name, str(values["chain_name"] or ""), made)
        gr.Info(f"“{name}” is saved.", title="Chain saved")
        return {fold.chosen: listed(request, name), fold.name: name, fold.text: written(made)}

    @told
    def load(name: Any, request: gr.Request) -> Updates:
        if not name:
            raise InvalidRequest("No chain is chosen.", hint="Choose a saved one.")
        found = kept.steps(user_of(request).name, str(name))
        return {**page.filled(found), fold.name: str(name), fold.text: written(found)}

    @told
    def take(text: Any) -> Updates:
        return page.filled(read_json(str(text or "")))

    @told
    def drop(name: Any, request: gr.Request) -> Updates:
        kept.delete(user_of(request).name, str(name or ""))
        return {fold.chosen: listed(request), fold.name: "", fold.text: ""}

    told_back: set[Any] = {fold.chosen, fold.name, fold.text}
    named.on(fold.save.click, save, told_back, **QUIET)
    fold.load.click(load, fold.chosen, {*page.outputs, fold.name, fold.text}, **QUIET)
    fold.take.click(take, fold.text, page.outputs, **QUIET)
    fold.drop.click(drop, fold.chosen, told_back, **QUIET)
    shell.blocks.load(listed, None, fold.chosen, **AT_ONCE)


def written(steps: Sequence[GenerationRequest]) -> str:
    """The steps as JSON, as `read_json` takes them."""
    return json.dumps([step.to_json() for step in steps], indent=2, ensure_ascii=False)


def read_json(text: str) -> tuple[GenerationRequest, ...]:
    """The steps in `text`: a list of requests, or one.

    Raises:
        InvalidRequest: no JSON, no such list, or what a request refuses.
    """
    if len(text) > _MOST_TEXT:
        raise InvalidRequest("The JSON is too long for a chain.", hint=_WHENCE)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"This is no JSON: {error}", hint=_WHENCE) from error
    return steps_of(data)

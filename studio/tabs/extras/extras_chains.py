"""Chains of steps that the user named: kept by the studio, used again here and elsewhere; they go out and come in as
JSON too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.engine.jobs.saved_chains import MAX_CHAIN_NAME_LENGTH, SavedChains, parse_steps
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, show_errors, show_info
from studio.tabs.common.form import Form
from studio.tabs.common.tab import PageContext

_MAX_JSON_LENGTH = 100_000  # characters of JSON
_PASTE_HINT = "Paste a chain in JSON form."


@dataclass(frozen=True, kw_only=True)
class ChainsAccordion:
    """The accordion's widgets."""

    chosen: gr.Dropdown
    name: gr.Textbox
    text: gr.Code
    load: gr.Button
    save: gr.Button
    drop: gr.Button
    take: gr.Button


def build_chains_accordion(prefix: str) -> ChainsAccordion:
    """The widgets, wired by `wire`."""
    with gr.Row(elem_classes="pair chain-row"):
        name = gr.Textbox(
            label="Name",
            max_lines=1,
            max_length=MAX_CHAIN_NAME_LENGTH,
            elem_id=f"{prefix}chain-name",
            min_width=120,
            placeholder="Web images",
        )
        save = gr.Button("Save steps as chain", elem_id=f"{prefix}chain-save", min_width=120)
    with gr.Row(elem_classes="pair chain-row"):
        chosen = gr.Dropdown(
            [], value=None, label="Saved chains", elem_id=f"{prefix}chain", min_width=120, allow_custom_value=True
        )
        with gr.Row(elem_classes="button-row"):
            load = gr.Button("Load", elem_id=f"{prefix}chain-load", min_width=60)
            drop = gr.Button("Delete", elem_id=f"{prefix}chain-delete", min_width=60)
    gr.Markdown("Txt2Img and Img2Img take a saved chain under *Post-processing*, HTTP as `chain`.", elem_classes="hint")
    with gr.Accordion("As JSON", open=False, elem_id=f"{prefix}chain-json"):
        text = gr.Code("", language="json", show_label=False, lines=4, max_lines=14, elem_id=f"{prefix}chain-text")
        take = gr.Button("Use this JSON", size="sm", elem_id=f"{prefix}chain-take")
    return ChainsAccordion(chosen=chosen, name=name, text=text, load=load, save=save, drop=drop, take=take)


class ChainsHost(Protocol):
    """The tab's functions for the accordion: read the steps of its values, and updates, of `outputs`, that show
    steps."""

    outputs: set[Any]

    @property
    def form(self) -> Form: ...

    def steps(self, values: dict[str, Any]) -> Sequence[GenerationRequest]: ...

    def make_form_updates(self, steps: Sequence[GenerationRequest]) -> Updates: ...


def wire_chains(page_context: PageContext, accordion: ChainsAccordion, page: ChainsHost, kept: SavedChains) -> None:
    """Save, load, delete, and JSON in."""
    named = Form({**page.form.fields, "chain_name": accordion.name})

    @show_errors
    def update_choices(request: gr.Request, chosen: str | None = None) -> dict[str, Any]:
        return gr.update(choices=kept.names(get_user(request).name), value=chosen)

    @show_errors
    def save_chain(packet: Any, request: gr.Request) -> Updates:
        values = named.values(packet)
        made = page.steps(values)
        name = kept.save(get_user(request).name, str(values["chain_name"] or ""), made)
        show_info(f"“{name}” was saved.", title="Chain saved")
        return {
            accordion.chosen: update_choices(request, name),
            accordion.name: name,
            accordion.text: format_json(made),
        }

    @show_errors
    def load_chain(name: Any, request: gr.Request) -> Updates:
        if not name:
            raise InvalidRequest("No chain selected.", hint="Select a saved chain.")
        found = kept.steps(get_user(request).name, str(name))
        return {**page.make_form_updates(found), accordion.name: str(name), accordion.text: format_json(found)}

    @show_errors
    def import_json(text: Any) -> Updates:
        return page.make_form_updates(read_json(str(text or "")))

    @show_errors
    def delete_chain(name: Any, request: gr.Request) -> Updates:
        kept.delete(get_user(request).name, str(name or ""))
        return {accordion.chosen: update_choices(request), accordion.name: "", accordion.text: ""}

    outputs: set[Any] = {accordion.chosen, accordion.name, accordion.text}
    named.on(accordion.save.click, save_chain, outputs, **HIDDEN)
    accordion.load.click(load_chain, accordion.chosen, {*page.outputs, accordion.name, accordion.text}, **HIDDEN)
    accordion.take.click(import_json, accordion.text, page.outputs, **HIDDEN)
    accordion.drop.click(delete_chain, accordion.chosen, outputs, **HIDDEN)
    page_context.blocks.load(update_choices, None, accordion.chosen, **UNQUEUED)


def format_json(steps: Sequence[GenerationRequest]) -> str:
    """The steps as JSON, as `read_json` takes them."""
    return json.dumps([step.to_json() for step in steps], indent=2, ensure_ascii=False)


def read_json(text: str) -> tuple[GenerationRequest, ...]:
    """The steps in `text`: a list of requests, or one.

    Raises:
        InvalidRequest: no JSON, no such list, or what a request refuses.
    """
    if len(text) > _MAX_JSON_LENGTH:
        raise InvalidRequest("The JSON is too long for a chain.", hint=_PASTE_HINT)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"Invalid JSON: {error}", hint=_PASTE_HINT) from error
    return parse_steps(data)

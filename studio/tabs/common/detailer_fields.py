"""The fields of the detailers."""

from __future__ import annotations

import gradio as gr
from gradio.components import Component

from studio.core.field_tables.detailer import DETAILER_FIELDS
from studio.core.model import Model
from studio.tabs.common.field_widgets import FieldContext, build_rows
from studio.tabs.common.form_values import DETAILER_SWITCH, DETAILERS, name_detailer_field
from studio.tabs.common.widgets import build_checkbox

_FIRST_FIELDS = ("target", "strength", "prompt", "negative_prompt")


def build_detailer_accordion(model: Model, prefix: str = "") -> dict[str, Component]:
    """Faces, or what words name, found in the image and drawn again at full resolution. The switch of the first
    detailer stands in the head of the accordion; a second one has a switch inside."""
    with gr.Column(elem_classes="switched-accordion", min_width=0):
        on = gr.Checkbox(
            False,
            label="Use detailer",
            elem_id=f"{prefix}detailer-on",
            elem_classes="accordion-switch",
            container=False,
            min_width=0,
        )
        with gr.Accordion("Detailer", open=False, elem_id=f"{prefix}detailer"):
            gr.HTML("Finds faces, or what you name, and redraws them at full resolution.", elem_classes="hint")
            fields: dict[str, Component] = {DETAILER_SWITCH: on, **_build_fields(model, prefix, 0)}
            for index in range(1, DETAILERS):
                fields |= _build_further_detailer(model, prefix, index)
    return fields


def _build_further_detailer(model: Model, prefix: str, index: int) -> dict[str, Component]:
    number = index + 1
    with gr.Accordion(f"Detailer {number}", open=False, elem_id=f"{prefix}detailer-{number}"):
        switch = build_checkbox(
            f"Use detailer {number}", f"{prefix}detailer-on-{number}", False, "Runs after the one before it."
        )
        return {name_detailer_field(DETAILER_SWITCH, index): switch, **_build_fields(model, prefix, index)}


def _build_fields(model: Model, prefix: str, index: int) -> dict[str, Component]:
    first = [spec for spec in DETAILER_FIELDS if spec.name in _FIRST_FIELDS]
    rest = [spec for spec in DETAILER_FIELDS if spec.name not in _FIRST_FIELDS]
    own = f"{prefix}{index + 1}-" if index else prefix
    made = build_rows(first, own, FieldContext(model=model))
    with gr.Accordion("Detailer settings", open=False, elem_id=f"{own}detailer-settings"):
        made |= build_rows(rest, own, FieldContext(model=model))
    return {name_detailer_field(name, index): field for name, field in made.items()}

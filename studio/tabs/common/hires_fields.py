"""The fields of the hires pass."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from studio.core.field_spec import FieldSpec
from studio.core.fields import HIRES_FIELDS
from studio.core.model import Model
from studio.tabs.common.field_widgets import FieldContext, build_rows


def build_hires_accordion(model: Model, fields: Sequence[FieldSpec] = HIRES_FIELDS) -> dict[str, Component]:
    """A second, larger pass: how far, how strongly, and what it does differently from the first. Its switch stands in
    the head of the accordion, so that it is on in one press."""
    with gr.Column(elem_classes="switched-accordion", min_width=0):
        on = gr.Checkbox(
            False,
            label="Use hires fix",
            elem_id="hires-on",
            elem_classes="accordion-switch",
            container=False,
            min_width=0,
        )
        with gr.Accordion("Hires fix", open=False, elem_id="hires"):
            gr.HTML("Enlarges the image and adds detail.", elem_classes="hint")
            return {"hires_on": on, **build_rows(fields, context=FieldContext(model=model))}

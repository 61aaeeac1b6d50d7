"""The fields of the hires pass."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from studio.core.field_spec import FieldSpec
from studio.core.fields import HIRES_FIELDS
from studio.core.model import Model
from studio.tabs.common.field_widgets import FieldContext, build_rows


def build_hires_fields(model: Model, fields: Sequence[FieldSpec] = HIRES_FIELDS) -> dict[str, Component]:
    """A second, larger pass: how far, how strongly, and what it does differently from the first."""
    on = gr.Checkbox(False, label="Use hires fix", elem_id="hires-on", info="Enlarge the image and add detail.")
    return {"hires_on": on, **build_rows(fields, context=FieldContext(model=model))}

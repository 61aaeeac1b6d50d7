"""The fields of the step Finish: crop, resize, file, text, watermark, derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from studio.core.field_tables.finish import FILE_FIELDS, FINISH_FIELDS, TEXT_FIELDS, WATERMARK_FIELDS
from studio.tabs.common import image_fields
from studio.tabs.common.events import HIDDEN, show_errors
from studio.tabs.common.field_widgets import FieldContext, build_rows, build_widget
from studio.tabs.extras.finish_values import (
    CROP_FIELDS,
    NO_FORMAT,
    SLOTS,
    list_derivative_fields,
    list_derivative_file_fields,
)


def build_finish_fields(fonts: Sequence[str], prefix: str) -> dict[str, Component]:
    """All of them; `fonts` are the names that text may be written in, the default first."""
    fields = build_rows(FILE_FIELDS, prefix)
    with gr.Accordion("Crop and resize", open=False, elem_id=f"{prefix}shape"):
        fields |= _build_shape_fields(prefix)
    with gr.Accordion("Text", open=False, elem_id=f"{prefix}lettering"):
        fields |= build_rows(TEXT_FIELDS, prefix, FieldContext(fonts=fonts))
    with gr.Accordion("Watermark", open=False, elem_id=f"{prefix}marking"):
        fields |= _build_watermark_fields(prefix)
    with gr.Accordion("Derivatives: many sizes and formats", open=False, elem_id=f"{prefix}derivatives"):
        fields |= _build_derivative_fields(prefix)
    return fields


def _build_shape_fields(prefix: str) -> dict[str, Component]:
    gr.Markdown("Crop from each side, in % of the width or height:", elem_classes="hint")
    fields: dict[str, Component] = {}
    with gr.Row(elem_classes="pair quarter"):
        fields |= {spec.form_name: build_widget(spec, prefix, min_width=60) for spec in CROP_FIELDS}
    with gr.Row(elem_classes="pair"):
        for spec in FINISH_FIELDS:
            fields[spec.form_name] = build_widget(spec, prefix, minimum=0, min_width=90)
    return fields


def _build_watermark_fields(prefix: str) -> dict[str, Component]:
    text, *rest = (spec for spec in WATERMARK_FIELDS if spec.widget is not None)
    fields = {text.form_name: build_widget(text, prefix)}
    fields["mark_image"] = image_fields.build_image_pad(
        "Or an image", name=f"{prefix}mark-image", hint="A logo, best with transparency"
    )
    return fields | build_rows(rest, prefix)


def _build_derivative_fields(prefix: str) -> dict[str, Component]:
    """A row for each; one shows when the one before it is in use."""
    gr.Markdown(
        "Saves each image in several sizes and formats, also as a zip. 0 leaves a side or the quality open.",
        elem_classes="hint",
    )
    fields: dict[str, Component] = {}
    for slot in range(SLOTS):
        with gr.Row(elem_classes="derivative", visible=slot == 0) as row:
            made = _build_derivative_row(slot, prefix)
        if slot:
            before = [fields[f"d{slot - 1}_{name}"] for name in ("width", "height", "format")]
            gr.on(
                [one.change for one in before],
                show_errors(lambda width, height, kind: gr.update(visible=bool(width or height or kind != NO_FORMAT))),
                before,
                row,
                **HIDDEN,
            )
        fields |= made
    return fields


def _build_derivative_row(slot: int, prefix: str) -> dict[str, Component]:
    width, height, crop = list_derivative_fields(slot)
    kind, quality = list_derivative_file_fields(slot)
    made = {spec.form_name: build_widget(spec, prefix, minimum=0, min_width=60) for spec in (width, height)}
    made[kind.form_name] = build_widget(kind, prefix, allow_custom_value=True, min_width=70)
    return made | {spec.form_name: build_widget(spec, prefix, min_width=60) for spec in (quality, crop)}

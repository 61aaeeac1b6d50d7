"""The fields of the step Finish: crop, resize, file, text, watermark, derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from studio.core.field_tables.finish import FILE_FIELDS, FILE_FORMATS, TEXT_FIELDS, WATERMARK_FIELDS
from studio.tabs.common import image_fields
from studio.tabs.common.events import HIDDEN, show_errors
from studio.tabs.common.field_widgets import FieldContext, build_rows, build_widget
from studio.tabs.extras.finish_values import NO_FORMAT, SIDES, SLOTS


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
        for side in SIDES:
            fields[f"crop_{side}"] = gr.Number(
                0, label=side.capitalize(), minimum=0, maximum=99, min_width=60, elem_id=f"{prefix}crop-{side}"
            )
    with gr.Row(elem_classes="pair"):
        fields["width"] = gr.Number(
            0,
            label="Width",
            precision=0,
            minimum=0,
            min_width=90,
            elem_id=f"{prefix}width",
            info="In px; 0 keeps the size.",
        )
        fields["height"] = gr.Number(
            0,
            label="Height",
            precision=0,
            minimum=0,
            min_width=90,
            elem_id=f"{prefix}height",
            info="Set one side only to keep the aspect ratio.",
        )
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
            width = gr.Number(0, label="Width", precision=0, minimum=0, min_width=60, elem_id=f"{prefix}d{slot}-width")
            height = gr.Number(
                0, label="Height", precision=0, minimum=0, min_width=60, elem_id=f"{prefix}d{slot}-height"
            )
            kind = gr.Dropdown(
                [NO_FORMAT, *FILE_FORMATS],
                value=NO_FORMAT,
                label="Format",
                min_width=70,
                elem_id=f"{prefix}d{slot}-format",
                allow_custom_value=True,
            )
            quality = gr.Number(
                0,
                label="Quality",
                precision=0,
                minimum=0,
                maximum=100,
                min_width=60,
                elem_id=f"{prefix}d{slot}-quality",
            )
            crop = gr.Checkbox(False, label="Fill", min_width=60, elem_id=f"{prefix}d{slot}-crop")
        if slot:
            before = [fields[f"d{slot - 1}_{name}"] for name in ("width", "height", "format")]
            gr.on(
                [one.change for one in before],
                show_errors(lambda width, height, kind: gr.update(visible=bool(width or height or kind != NO_FORMAT))),
                before,
                row,
                **HIDDEN,
            )
        fields |= {
            f"d{slot}_width": width,
            f"d{slot}_height": height,
            f"d{slot}_format": kind,
            f"d{slot}_quality": quality,
            f"d{slot}_crop": crop,
        }
    return fields

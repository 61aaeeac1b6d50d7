"""The fields of the step Finish: crop, resize, file, text, watermark, derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from studio.core.finish import Anchor
from studio.tabs.common import image_fields
from studio.tabs.common.events import HIDDEN
from studio.tabs.common.widgets import build_dropdown, build_number, build_slider, build_textbox
from studio.tabs.extras.finish_values import (
    CONTRASTS,
    DEFAULT_FORMAT,
    FORMATS,
    METADATA_POLICIES,
    NO_FORMAT,
    SIDES,
    SLOTS,
)

ANCHORS = [anchor.value for anchor in Anchor]


def build_finish_fields(fonts: Sequence[str], prefix: str) -> dict[str, Component]:
    """All of them; `fonts` are the names that text may be written in, the default first."""
    fields = _build_file_fields(prefix)
    with gr.Accordion("Crop and resize", open=False, elem_id=f"{prefix}shape"):
        fields |= _build_shape_fields(prefix)
    with gr.Accordion("Text", open=False, elem_id=f"{prefix}lettering"):
        fields |= _build_text_fields(fonts, prefix)
    with gr.Accordion("Watermark", open=False, elem_id=f"{prefix}marking"):
        fields |= _build_watermark_fields(prefix)
    with gr.Accordion("Derivatives: many sizes and formats", open=False, elem_id=f"{prefix}derivatives"):
        fields |= _build_derivative_fields(prefix)
    return fields


def _build_file_fields(prefix: str) -> dict[str, Component]:
    with gr.Row(elem_classes="pair"):
        kind = build_dropdown(
            "Format", f"{prefix}format", list(FORMATS), DEFAULT_FORMAT, "File format; colours are sRGB."
        )
        quality = build_slider(
            "File quality", f"{prefix}file-quality", (0, 100, 1), 0, "0 uses the value from the settings."
        )
    with gr.Row(elem_classes="pair"):
        most = build_number(
            "Max file size (kB)",
            f"{prefix}max-kb",
            0,
            "0: any size. Quality is lowered to fit.",
            minimum=0,
            precision=None,
        )
        policies = list(METADATA_POLICIES)
        keep = build_dropdown("Metadata", f"{prefix}keep", policies, policies[0], "Recipe, infotext and AI marker.")
    ground = gr.ColorPicker(
        "#ffffff",
        label="Ground colour",
        elem_id=f"{prefix}ground",
        min_width=120,
        info="Behind transparent parts in a JPEG.",
    )
    return {"format": kind, "file_quality": quality, "max_kb": most, "keep": keep, "ground": ground}


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


def _build_text_fields(fonts: Sequence[str], prefix: str) -> dict[str, Component]:
    words = build_textbox(
        "Text", f"{prefix}text", max_length=2000, lines=1, max_lines=4, placeholder="Written over the image"
    )
    with gr.Row(elem_classes="pair"):
        names = [("Default", ""), *((name, name) for name in fonts if name)]
        font = build_dropdown("Font", f"{prefix}font", names, "")
        anchor = build_dropdown("Position", f"{prefix}text-anchor", ANCHORS, Anchor.BOTTOM.value)
    with gr.Row(elem_classes="pair"):
        size = build_slider("Size", f"{prefix}text-size", (0.5, 50, 0.5), 8, "% of the image's height.")
        stroke = build_slider("Outline", f"{prefix}stroke", (0, 50, 0.5), 6, "% of the text size.")
    with gr.Row(elem_classes="pair"):
        colour = gr.ColorPicker(
            "#ffffff", label="Colour", elem_id=f"{prefix}text-colour", elem_classes="swatch", min_width=90
        )
        outline = gr.ColorPicker(
            "#000000", label="Outline colour", elem_id=f"{prefix}stroke-colour", elem_classes="swatch", min_width=90
        )
    with gr.Row(elem_classes="pair"):
        margin = build_slider("Margin", f"{prefix}text-margin", (0, 45, 0.5), 5, "% of the shorter side.")
        contrasts = list(CONTRASTS)
        contrast = build_dropdown(
            "Contrast", f"{prefix}contrast", contrasts, contrasts[0], "Contrast with the background."
        )
    return {
        "text": words,
        "font": font,
        "text_anchor": anchor,
        "text_size": size,
        "stroke": stroke,
        "text_colour": colour,
        "stroke_colour": outline,
        "text_margin": margin,
        "contrast": contrast,
    }


def _build_watermark_fields(prefix: str) -> dict[str, Component]:
    words = gr.Textbox(
        label="Text", max_lines=1, max_length=500, elem_id=f"{prefix}mark-text", placeholder="© your name"
    )
    image = image_fields.build_image_pad(
        "Or an image", name=f"{prefix}mark-image", hint="A logo, best with transparency"
    )
    with gr.Row(elem_classes="pair"):
        opacity = gr.Slider(0, 1, value=0.5, step=0.05, label="Opacity", elem_id=f"{prefix}opacity", min_width=120)
        size = gr.Slider(
            1,
            100,
            value=15,
            step=1,
            label="Size",
            elem_id=f"{prefix}mark-size",
            min_width=120,
            info="% of the shorter side.",
        )
    with gr.Row(elem_classes="pair"):
        anchor = gr.Dropdown(
            ANCHORS,
            value=Anchor.BOTTOM_RIGHT.value,
            label="Position",
            elem_id=f"{prefix}mark-anchor",
            min_width=120,
            allow_custom_value=True,
        )
        tiled = gr.Checkbox(
            False, label="Tiled", elem_id=f"{prefix}tiled", min_width=120, info="Repeat across the whole image."
        )
    hidden = gr.Textbox(
        label="Hidden text",
        max_lines=1,
        max_length=200,
        elem_id=f"{prefix}hidden",
        info="Invisible; shown by Image info.",
    )
    return {
        "mark_text": words,
        "mark_image": image,
        "opacity": opacity,
        "mark_size": size,
        "mark_anchor": anchor,
        "tiled": tiled,
        "hidden": hidden,
    }


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
                [NO_FORMAT, *list(FORMATS)[1:]],
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
                lambda width, height, kind: gr.update(visible=bool(width or height or kind != NO_FORMAT)),
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

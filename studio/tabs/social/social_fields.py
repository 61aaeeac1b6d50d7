"""The fields of the Social Optimizer."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from studio.core.finish import Anchor
from studio.core.finish import MetadataPolicy as Kept
from studio.core.model import Model
from studio.core.social import ExtendMode
from studio.tabs.common import image_fields

PREFIX = "social-"
IMAGES = f"{PREFIX}images"
ASK = "ask"
EXTEND_CHOICES = (
    ("Ask", ASK),
    ("Crop anyway", ExtendMode.CROP.value),
    ("Blurred border", ExtendMode.BLUR.value),
    ("Coloured border", ExtendMode.COLOUR.value),
    ("Mirrored edge", ExtendMode.MIRROR.value),
    ("Outpaint with a model", ExtendMode.OUTPAINT.value),
)
METADATA_CHOICES = (
    ("AI marker only", Kept.MARKER.value),
    ("Full recipe", Kept.ALL.value),
    ("Nothing", Kept.NOTHING.value),
)
FILE_TYPE_CHOICES = (("Preferred by each platform", ""), ("JPEG", "jpeg"), ("PNG", "png"), ("WebP", "webp"))
OWN_CROPS, SAME_CROP = "Individual", "Same for all"
NAME_PATTERN = "{picture}-{platform}-{format}"
KIT_FIELDS = (  # what a brand kit holds
    "text_font",
    "text_colour",
    "text_rim",
    "text_margin",
    "text_anchor",
    "text_size",
    "colour",
    "logo",
    "logo_anchor",
    "logo_size",
    "logo_margin",
    "logo_opacity",
)
_ANCHORS = [anchor.value for anchor in Anchor]


def build_selection_fields() -> dict[str, Component]:
    """Images and formats."""
    return {
        "images": image_fields.build_image_pad("Images", name=IMAGES, many=True),
        "formats": image_fields.build_scripted_field("formats", f"{PREFIX}formats"),
    }


def build_board_field() -> dict[str, Component]:
    """Every chosen format as its crop; the value is JSON, see studio/assets/js/social/board.js."""
    return {"board": image_fields.build_scripted_field("board", f"{PREFIX}board", value="{}", over=IMAGES)}


def build_crop_fields(upscalers: Sequence[Model]) -> dict[str, Component]:
    """How crops are found, and what is done where none fits."""
    same = gr.Radio(
        [OWN_CROPS, SAME_CROP],
        value=OWN_CROPS,
        label="Crops",
        elem_id=f"{PREFIX}same",
        info="“Same for all” uses one composition that fits the safe zones of all formats where possible.",
    )
    with gr.Row(elem_classes="pair"):
        extend = gr.Dropdown(
            list(EXTEND_CHOICES),
            value=ASK,
            label="If no crop fits",
            elem_id=f"{PREFIX}extend",
            min_width=120,
            info="“Ask”: nobody is left out unseen. A border keeps the whole image.",
        )
        colour = gr.ColorPicker("#1f2933", label="Border colour", elem_id=f"{PREFIX}colour", min_width=100)
    upscale = gr.Dropdown(
        [("Resize and warn", ""), *((f"Upscale with {model.title}", model.id) for model in upscalers)],
        value="",
        label="Small images",
        elem_id=f"{PREFIX}upscale",
        info="Upscaling gives finer detail but takes longer.",
    )
    return {"same": same, "extend": extend, "colour": colour, "upscale": upscale}


def build_file_fields() -> dict[str, Component]:
    """How the files are written."""
    with gr.Row(elem_classes="pair"):
        kind = gr.Dropdown(
            list(FILE_TYPE_CHOICES),
            value="",
            label="File type",
            elem_id=f"{PREFIX}type",
            min_width=120,
            info="Kept below the platform's size limit.",
        )
        keep = gr.Dropdown(
            list(METADATA_CHOICES),
            value=Kept.MARKER.value,
            label="Metadata",
            elem_id=f"{PREFIX}keep",
            min_width=120,
            info="Written into the files.",
        )
    ground = gr.ColorPicker(
        "#ffffff",
        label="Ground colour",
        elem_id=f"{PREFIX}ground",
        min_width=100,
        info="Behind transparent parts in a JPEG.",
    )
    pattern = gr.Textbox(
        NAME_PATTERN,
        label="File names in the zip",
        elem_id=f"{PREFIX}pattern",
        max_length=120,
        info="Fields: {image} {platform} {format} {width} {height}. A slash creates folders.",
    )
    sheet = gr.Checkbox(label="Contact sheet", elem_id=f"{PREFIX}sheet", info="Adds one image that shows all formats.")
    original = gr.Checkbox(label="Include full image", elem_id=f"{PREFIX}original")
    zones = gr.Checkbox(
        label="Draw safe zones into the files", elem_id=f"{PREFIX}zones", info="For review, not for posting."
    )
    return {
        "type": kind,
        "keep": keep,
        "ground": ground,
        "pattern": pattern,
        "sheet": sheet,
        "original": original,
        "zones": zones,
    }


def build_text_fields(fonts: Sequence[str]) -> dict[str, Component]:
    """Words over every format, inside its safe area."""
    words = gr.Textbox(
        label="Text", lines=2, max_lines=5, max_length=500, elem_id=f"{PREFIX}text", info="Placed inside the safe zone."
    )
    with gr.Row(elem_classes="pair"):
        font = gr.Dropdown(
            list(fonts) or [""], value=next(iter(fonts), ""), label="Font", elem_id=f"{PREFIX}font", min_width=120
        )
        anchor = gr.Dropdown(
            _ANCHORS, value=Anchor.BOTTOM.value, label="Position", elem_id=f"{PREFIX}anchor", min_width=120
        )
    with gr.Row(elem_classes="pair"):
        size = gr.Slider(
            1, 30, value=7, step=0.5, label="Size", info="% of the height", elem_id=f"{PREFIX}size", min_width=120
        )
        margin = gr.Slider(
            0,
            20,
            value=5,
            step=0.5,
            label="Margin",
            info="% of the shorter side",
            elem_id=f"{PREFIX}margin",
            min_width=120,
        )
    with gr.Row(elem_classes="pair"):
        colour = gr.ColorPicker("#ffffff", label="Colour", elem_id=f"{PREFIX}text-colour", min_width=100)
        rim = gr.ColorPicker("#000000", label="Outline colour", elem_id=f"{PREFIX}text-rim", min_width=100)
    shade = gr.Checkbox(
        True,
        label="Add a shade behind low-contrast text",
        elem_id=f"{PREFIX}shade",
        info="If off, low contrast is only reported.",
    )
    return {
        "text": words,
        "text_font": font,
        "text_anchor": anchor,
        "text_size": size,
        "text_margin": margin,
        "text_colour": colour,
        "text_rim": rim,
        "text_shade": shade,
    }


def build_logo_fields() -> dict[str, Component]:
    """The logo on every format."""
    image = image_fields.build_image_pad("Logo", name=f"{PREFIX}logo", hint="A PNG with transparency looks best")
    with gr.Row(elem_classes="pair"):
        anchor = gr.Dropdown(
            _ANCHORS, value=Anchor.TOP_LEFT.value, label="Logo position", elem_id=f"{PREFIX}logo-anchor", min_width=120
        )
        size = gr.Slider(
            3,
            60,
            value=14,
            step=1,
            label="Logo size",
            info="% of the width",
            elem_id=f"{PREFIX}logo-size",
            min_width=120,
        )
    with gr.Row(elem_classes="pair"):
        margin = gr.Slider(
            0, 20, value=4, step=0.5, label="Logo margin", info="%", elem_id=f"{PREFIX}logo-margin", min_width=120
        )
        opacity = gr.Slider(
            10, 100, value=100, step=5, label="Opacity", info="%", elem_id=f"{PREFIX}logo-opacity", min_width=120
        )
    return {"logo": image, "logo_anchor": anchor, "logo_size": size, "logo_margin": margin, "logo_opacity": opacity}

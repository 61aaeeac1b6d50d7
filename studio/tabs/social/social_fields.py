"""The fields of the Social Optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from studio.core.field_spec import Limits, Widget, adapt_fields, get_field
from studio.core.field_tables import finish as finish_fields
from studio.core.field_tables.social import SOCIAL_FIELDS
from studio.core.finish_choices import Anchor
from studio.core.model import Model
from studio.core.social_formats import Platform
from studio.tabs.common import image_fields
from studio.tabs.common.field_widgets import FieldContext, build_rows, build_value_dropdown, build_widget

PREFIX = "social-"
IMAGES = f"{PREFIX}images"
ASK = "ask"
NAME_PATTERN = "{image}-{platform}-{format}"
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
_SAME, _EXTEND, _COLOUR, _GROUND, _KEEP, _FILE_TYPE, _SHEET, _ORIGINAL, _ZONES = adapt_fields(
    SOCIAL_FIELDS,
    same={},
    extend={
        "help": "“Ask”: nobody is left out unseen. A border keeps the whole image.",
        "options": {"Ask": ASK, **get_field(SOCIAL_FIELDS, "extend").options},
        "initial": ASK,
    },
    colour={"help": "", "initial": "#1f2933"},
    ground={},
    keep={},
    file_type={},
    sheet={},
    original={"help": ""},
    zones={},
)
_UP_TO_20 = Limits(0, 20, 0.5)
TEXT_FIELDS = adapt_fields(
    finish_fields.TEXT_FIELDS,
    text={"help": "Placed inside the safe zone.", "placeholder": "", "lines": 2, "max_length": 500},
    font={"form": "text_font"},
    anchor={},
    size={"help": "% of the height.", "slider": Limits(1, 30, 0.5), "initial": 7},
    margin={"slider": _UP_TO_20, "initial": 5},
    colour={},
    stroke_colour={"form": "text_rim"},
)
LOGO_FIELDS = adapt_fields(
    finish_fields.WATERMARK_FIELDS,
    anchor={"label": "Logo position", "initial": Anchor.TOP_LEFT, "form": "logo_anchor"},
    size={
        "label": "Logo size",
        "help": "% of the width.",
        "slider": Limits(3, 60),
        "initial": 14,
        "form": "logo_size",
    },
    margin={
        "label": "Logo margin",
        "help": "%.",
        "widget": Widget.SLIDER,
        "slider": _UP_TO_20,
        "initial": 4,
        "form": "logo_margin",
    },
    opacity={
        "help": "%.",
        "slider": Limits(10, 100, 5),
        "initial": 100,
        "form": "logo_opacity",
        "form_scale": finish_fields.PERCENT,
    },
)


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
    same = build_widget(_SAME, PREFIX)
    with gr.Row(elem_classes="pair"):
        extend = build_value_dropdown(_EXTEND, PREFIX)
        colour = build_widget(_COLOUR, PREFIX, min_width=100)
    upscale = gr.Dropdown(
        [("Resize and warn", ""), *((f"Upscale with {model.title}", model.id) for model in upscalers)],
        value="",
        label="Small images",
        elem_id=f"{PREFIX}upscale",
        info="Upscaling gives finer detail but takes longer.",
    )
    return {"same": same, "extend": extend, "colour": colour, "upscale": upscale}


def build_file_fields(platforms: Sequence[Platform]) -> dict[str, Component]:
    """How the files are written."""
    read = "; ".join(f"{one.title}: {one.reads}" for one in platforms if one.reads)
    with gr.Row(elem_classes="pair"):
        kind = build_value_dropdown(_FILE_TYPE, PREFIX)
        about = f"{_KEEP.help} Read by {read}." if read else _KEEP.help
        keep = build_value_dropdown(dataclasses.replace(_KEEP, help=about), PREFIX)
    ground = build_widget(_GROUND, PREFIX, min_width=100)
    pattern = gr.Textbox(
        NAME_PATTERN,
        label="File names in the zip",
        elem_id=f"{PREFIX}pattern",
        max_length=120,
        info="Fields: {image} {platform} {format} {width} {height}. A slash creates folders.",
    )
    sheet, original, zones = (build_widget(spec, PREFIX) for spec in (_SHEET, _ORIGINAL, _ZONES))
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
    fields = build_rows(TEXT_FIELDS, PREFIX, FieldContext(fonts=fonts))
    fields["text_shade"] = gr.Checkbox(
        True,
        label="Add a shade behind low-contrast text",
        elem_id=f"{PREFIX}shade",
        info="If off, low contrast is only reported.",
    )
    return fields


def build_logo_fields() -> dict[str, Component]:
    """The logo on every format."""
    image = image_fields.build_image_pad("Logo", name=f"{PREFIX}logo", hint="A PNG with transparency looks best")
    return {"logo": image, **build_rows(LOGO_FIELDS, PREFIX)}

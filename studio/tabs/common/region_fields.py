"""The fields of regional prompts: how the image is divided, and areas that are painted or rectangles."""

from __future__ import annotations

import gradio as gr
from gradio.components import Component

from studio.core.field_spec import Group, select_fields
from studio.core.fields import MAX_PROMPT_CHARS, REQUEST_FIELDS
from studio.core.region_area import AREA_COLOURS
from studio.tabs.common.field_widgets import build_rows
from studio.tabs.common.image_fields import build_area_painter
from studio.tabs.common.region_values import AREA_MAP, AREAS, name_area_field
from studio.tabs.common.widgets import build_slider, build_textbox

_COLOUR_NAMES = ("red", "green", "blue", "yellow", "magenta", "cyan")
_MAX_PLACE_CHARS = 160


def build_regions_accordion(prefix: str = "", over: str = "") -> dict[str, Component]:
    """How the image is divided, and inside, in an accordion of their own, the areas. They are painted over the image on
    the pad called `over`, or without one on a blank sheet of the form's size."""
    with gr.Accordion("Regional prompts", open=False, elem_id=f"{prefix}region-fields"):
        fields = build_rows(select_fields(REQUEST_FIELDS, Group.REGIONS), prefix)
        with gr.Accordion("Areas", open=False, elem_id=f"{prefix}areas"):
            return fields | _build_area_fields(prefix, over)


def _build_area_fields(prefix: str, over: str) -> dict[str, Component]:
    gr.HTML(
        "For “Areas” above: paint each area in its colour and write what belongs there. The prompt counts elsewhere.",
        elem_classes="hint",
    )
    names = [f"Area {number}: {name}" for number, name in enumerate(_COLOUR_NAMES, 1)]
    painter = build_area_painter(
        "Areas",
        name=f"{prefix}area-map",
        over=over,
        palette=list(zip(AREA_COLOURS, names, strict=True)),
        size=(f"{prefix}width", f"{prefix}height"),
    )
    fields: dict[str, Component] = {AREA_MAP: painter}
    for index in range(AREAS):
        number = index + 1
        fields[name_area_field("prompt", index)] = build_textbox(
            names[index], f"{prefix}area-prompt-{number}", max_length=MAX_PROMPT_CHARS, lines=1, max_lines=6
        )
        with gr.Row(elem_classes="pair"):
            fields[name_area_field("weight", index)] = build_slider(
                "Weight", f"{prefix}area-weight-{number}", (0, 2, 0.05), 1, "Below 1 the prompt counts by the rest."
            )
            fields[name_area_field("place", index)] = build_textbox(
                "Rectangle",
                f"{prefix}area-place-{number}",
                "x, y, width, height as fractions; empty: as painted.",
                max_length=_MAX_PLACE_CHARS,
                max_lines=1,
            )
    return fields

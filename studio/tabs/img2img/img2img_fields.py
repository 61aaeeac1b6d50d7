"""The fields of Img2Img, in the parts that are shown and hidden together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import gradio as gr
from gradio.components import Component

from studio.core.model import Model
from studio.tabs.common import form_fields, image_fields
from studio.tabs.common.choices import ASPECTS
from studio.tabs.common.events import UNQUEUED
from studio.tabs.common.form import Form
from studio.tabs.img2img.edit_operations import EDIT, MODES, OPERATIONS, Part, find_operation, get_visible_parts
from studio.tabs.img2img.img2img_values import AREAS, FILLS, GROW_MODES, RESIZES, SIDES
from studio.tabs.img2img.search_mask import build_search_fields

PREFIX = "i2i-"
SOURCE = f"{PREFIX}source"  # the pad that editors and the outpaint plan follow

GROWTH = {"left": 0, "top": 0, "right": 128, "bottom": 0}  # px that the canvas grows at first


@dataclass
class Img2ImgLayout:
    """The fields so far, and the blocks that each part of the form is made of."""

    model: Model
    fields: dict[str, Component] = field(default_factory=dict)
    parts: dict[Part, list[gr.Column]] = field(default_factory=dict)

    @contextmanager
    def part(self, part: Part) -> Iterator[None]:
        """Whatever is made inside belongs to `part`."""
        visible = part in get_visible_parts(find_operation(None, None), self.model)
        with gr.Column(visible=visible, elem_classes=f"part part-{part}", min_width=0) as column:
            yield
        self.parts.setdefault(part, []).append(column)

    def form(self) -> Form:
        return Form(self.fields)


def build_source_fields(layout: Img2ImgLayout) -> tuple[gr.HTML, gr.Button, gr.HTML]:
    """The chooser, the source and whatever is painted over it; gives the line that says what the operation does, and
    the search's button and line."""
    modes = [*MODES, EDIT]
    mode = gr.Radio(
        modes, value=modes[0], label="Mode", show_label=False, elem_id=f"{PREFIX}mode", elem_classes="modes"
    )
    operation = gr.Dropdown(
        list(OPERATIONS),
        value=next(iter(OPERATIONS)),
        label="Operation",
        elem_id=f"{PREFIX}operation",
        visible=False,
        allow_custom_value=True,
    )
    hint = gr.HTML(render_hint(modes[0], None), elem_classes="model-note")
    layout.fields |= {"mode": mode, "operation": operation}
    with gr.Column(elem_classes="images", min_width=0):
        layout.fields["source"] = image_fields.build_image_pad("Image", name=SOURCE)
        with layout.part(Part.SEARCH):
            searched, find, found = build_search_fields(PREFIX)
            layout.fields |= searched
        with layout.part(Part.MASK):
            layout.fields["mask"] = image_fields.build_paint_editor(
                "Mask", name=f"{PREFIX}mask", kind="mask", over=SOURCE
            )
        with layout.part(Part.PAINT):
            layout.fields["paint"] = image_fields.build_paint_editor(
                "Sketch", name=f"{PREFIX}paint", kind="paint", over=SOURCE
            )
        with layout.part(Part.GROW):
            layout.fields["plan"] = image_fields.build_outpaint_plan(
                {"how": "sides", **GROWTH}, name=f"{PREFIX}plan", over=SOURCE
            )
    return hint, find, found


def render_hint(mode: object, operation: object) -> str:
    """The line below the chooser."""
    return f'<p class="note">{find_operation(mode, operation).hint}</p>'


def build_operation_fields(layout: Img2ImgLayout) -> None:
    """What single operations take besides a prompt."""
    fields = layout.fields
    with layout.part(Part.STYLE):
        fields["style"] = image_fields.build_image_pad(
            "Style image", name=f"{PREFIX}style", hint="Its style is taken, not its content"
        )
    with layout.part(Part.BACKGROUND), gr.Row(elem_classes="pair"):
        fields["background"] = image_fields.build_image_pad(
            "Background", name=f"{PREFIX}background", hint="Empty: drawn from the prompt"
        )
        fields["lighting"] = image_fields.build_image_pad(
            "Light", name=f"{PREFIX}lighting", hint="Optional: an image lit as wanted"
        )
    with layout.part(Part.STRENGTH):
        fields["strength"] = gr.Slider(
            0,
            1,
            value=0.6,
            step=0.01,
            label="Denoising strength",
            elem_id=f"{PREFIX}strength",
            info="How much may change: 0 keeps the image, 1 draws it anew.",
        )
    with layout.part(Part.INPAINT):
        fields |= _build_inpaint_fields()
    with layout.part(Part.GROW):
        fields |= _build_outpaint_fields()
    layout.fields = fields


def _build_inpaint_fields() -> dict[str, Component]:
    with gr.Row(elem_classes="pair"):
        area = gr.Radio(
            list(AREAS),
            value=next(iter(AREAS)),
            label="Area",
            elem_id=f"{PREFIX}area",
            min_width=160,
            info="The masked part alone gets the full resolution.",
        )
        padding = gr.Slider(
            0,
            256,
            value=32,
            step=1,
            label="Padding",
            elem_id=f"{PREFIX}padding",
            min_width=120,
            info="Px around the mask, for that part.",
        )
    with gr.Row(elem_classes="pair"):
        fill = gr.Dropdown(
            list(FILLS),
            value=next(iter(FILLS)),
            label="Begin with",
            elem_id=f"{PREFIX}fill",
            min_width=120,
            info="What lies under the mask at first.",
        )
        blur = gr.Slider(
            0,
            64,
            value=4,
            step=1,
            label="Mask blur",
            elem_id=f"{PREFIX}mask-blur",
            min_width=120,
            info="Px by which its edge fades.",
        )
    with gr.Row(elem_classes="pair"):
        soft = gr.Checkbox(
            False,
            label="Soft edges",
            elem_id=f"{PREFIX}soft",
            min_width=120,
            info="Grey parts of the mask change a little.",
        )
        invert = gr.Checkbox(
            False,
            label="Change what is not masked",
            elem_id=f"{PREFIX}invert",
            min_width=120,
            info="The mask protects instead.",
        )
    return {"area": area, "padding": padding, "fill": fill, "mask_blur": blur, "soft": soft, "invert": invert}


def _build_outpaint_fields() -> dict[str, Component]:
    by_sides, by_aspect, by_size = GROW_MODES
    how = gr.Radio(
        list(GROW_MODES),
        value=by_sides,
        label="Grow",
        elem_id=f"{PREFIX}grow",
        info="By sides in px, or with the image in the middle.",
    )
    with gr.Row(elem_classes="pair quarter") as row:
        sides: dict[str, Component] = {
            side: gr.Number(
                GROWTH[side],
                label=side.capitalize(),
                precision=0,
                step=8,
                minimum=0,
                min_width=60,
                elem_id=f"{PREFIX}{side}",
            )
            for side in SIDES
        }
    aspect = gr.Dropdown(
        list(ASPECTS), value="16:9", label="Aspect", elem_id=f"{PREFIX}aspect", visible=False, allow_custom_value=True
    )
    with gr.Row(elem_classes="pair", visible=False) as size:
        width = gr.Number(
            1024, label="Canvas width", precision=0, step=8, min_width=90, elem_id=f"{PREFIX}canvas-width"
        )
        height = gr.Number(
            1024, label="Canvas height", precision=0, step=8, min_width=90, elem_id=f"{PREFIX}canvas-height"
        )
    how.change(
        lambda chosen: [gr.update(visible=chosen == name) for name in (by_sides, by_aspect, by_size)],
        how,
        [row, aspect, size],
        **UNQUEUED,
    )
    return {"grow": how, **sides, "canvas_aspect": aspect, "canvas_width": width, "canvas_height": height}


def build_output_size_fields(layout: Img2ImgLayout) -> None:
    """The size that is drawn at, and the loopback."""
    with layout.part(Part.SIZE):
        own = gr.Checkbox(
            False,
            label="Another size than the image's",
            elem_id=f"{PREFIX}own-size",
            info="Otherwise the image's own, as near as the model can.",
        )
        with gr.Column(visible=False, min_width=0) as sizes:
            made = form_fields.build_size_fields(layout.model, PREFIX)
            resize = gr.Dropdown(
                list(RESIZES),
                value=next(iter(RESIZES)),
                label="Resize",
                elem_id=f"{PREFIX}resize",
                info="How the image gets there.",
            )
    own.change(
        lambda on: gr.update(visible=on),
        own,
        sizes,
        **UNQUEUED,
    )
    layout.fields |= {"own_size": own, **made, "resize": resize}


def build_additional_fields(layout: Img2ImgLayout) -> None:
    """Loopback, a batch of images, a reference image."""
    with layout.part(Part.LOOPS):
        layout.fields["loops"] = gr.Slider(
            1,
            16,
            value=1,
            step=1,
            label="Loopback",
            elem_id=f"{PREFIX}loops",
            info="Each image is the source of the next, that many times.",
        )
    with layout.part(Part.BATCH), gr.Accordion("Batch: many images", open=False):
        layout.fields["batch"] = image_fields.build_image_pad(
            "Images", name=f"{PREFIX}batch", many=True, hint="All of them are worked on, instead of the one above"
        )
    with layout.part(Part.REFERENCE), gr.Accordion("Reference image", open=False):
        layout.fields["reference"] = image_fields.build_image_pad(
            "Reference", name=f"{PREFIX}reference", hint="The result takes after it"
        )
        with gr.Row(elem_classes="pair"):
            weight = gr.Slider(
                0,
                2,
                value=0.6,
                step=0.05,
                label="Weight",
                elem_id=f"{PREFIX}reference-weight",
                min_width=120,
                info="How strongly.",
            )
            style = gr.Checkbox(
                False, label="Style only", elem_id=f"{PREFIX}reference-style", min_width=120, info="Not its content."
            )
        layout.fields |= {"reference_weight": weight, "reference_style": style}

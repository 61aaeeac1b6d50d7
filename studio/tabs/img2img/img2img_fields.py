"""The fields of Img2Img, in the parts that are shown and hidden together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import gradio as gr
from gradio.components import Component

from studio.core.field_spec import Group, get_field, select_fields
from studio.core.fields import INPAINT_FIELDS, OUTPAINT_FIELDS, REQUEST_FIELDS
from studio.core.model import Model
from studio.core.operations import EDIT, EDITS, MODES, Part, find_operation, get_visible_parts
from studio.tabs.common import form_fields, image_fields
from studio.tabs.common.events import UNQUEUED, show_errors
from studio.tabs.common.field_widgets import FieldContext, build_rows, build_widget, get_initial_value
from studio.tabs.common.form import Form
from studio.tabs.common.widgets import build_checkbox, build_slider
from studio.tabs.img2img.img2img_values import GROW_MODES, SIDES
from studio.tabs.img2img.search_mask import build_search_fields

PREFIX = "i2i-"
SOURCE = f"{PREFIX}source"  # the pad that editors and the outpaint plan follow

GROWTH = {side: get_initial_value(get_field(OUTPAINT_FIELDS, side), None) for side in SIDES}  # px at first


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
        list(EDITS),
        value=next(iter(EDITS)),
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
    return f'<p class="note">{find_operation(mode, operation).help}</p>'


def build_operation_fields(layout: Img2ImgLayout) -> None:
    """Fields of single operations besides the prompt."""
    fields = layout.fields
    with layout.part(Part.STYLE):
        fields["style"] = image_fields.build_image_pad(
            "Style image", name=f"{PREFIX}style", hint="Its style is taken, not its content"
        )
    with layout.part(Part.BACKGROUND), gr.Row(elem_classes="pair"):
        fields["background"] = image_fields.build_image_pad(
            "Background", name=f"{PREFIX}background", hint="Empty: generated from the prompt"
        )
        fields["lighting"] = image_fields.build_image_pad(
            "Light", name=f"{PREFIX}lighting", hint="Optional: an image lit as wanted"
        )
    with layout.part(Part.STRENGTH):
        fields |= build_rows(select_fields(REQUEST_FIELDS, Group.STRENGTH), PREFIX)
    with layout.part(Part.INPAINT):
        fields |= build_rows(INPAINT_FIELDS, PREFIX)
    with layout.part(Part.GROW):
        fields |= _build_outpaint_fields()
    layout.fields = fields


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
            side: build_widget(get_field(OUTPAINT_FIELDS, side), PREFIX, step=8, min_width=60) for side in SIDES
        }
    aspect = build_widget(get_field(OUTPAINT_FIELDS, "aspect"), PREFIX, visible=False)
    with gr.Row(elem_classes="pair", visible=False) as size:
        width = build_widget(get_field(OUTPAINT_FIELDS, "width"), PREFIX, step=8, min_width=90)
        height = build_widget(get_field(OUTPAINT_FIELDS, "height"), PREFIX, step=8, min_width=90)
    how.change(
        show_errors(lambda chosen: [gr.update(visible=chosen == name) for name in (by_sides, by_aspect, by_size)]),
        how,
        [row, aspect, size],
        **UNQUEUED,
    )
    return {"grow": how, **sides, "canvas_aspect": aspect, "canvas_width": width, "canvas_height": height}


def build_output_size_fields(layout: Img2ImgLayout) -> None:
    """The size that is drawn at, whether the model's own network enlarges it, and whether things are redrawn one by
    one."""
    with layout.part(Part.SIZE):
        own = gr.Checkbox(
            False,
            label="Another size than the image's",
            elem_id=f"{PREFIX}own-size",
            info="Otherwise the image's own, as near as the model can.",
        )
        with gr.Column(visible=False, min_width=0) as sizes:
            made = form_fields.build_size_fields(layout.model, PREFIX)
            made |= build_rows(select_fields(REQUEST_FIELDS, Group.RESIZE), PREFIX)
    own.change(
        show_errors(lambda on: gr.update(visible=on)),
        own,
        sizes,
        **UNQUEUED,
    )
    layout.fields |= {"own_size": own, **made}
    for part, name in ((Part.ENLARGE, "enlarge"), (Part.COMPOSE, "compose")):
        with layout.part(part):
            spec = get_field(REQUEST_FIELDS, name)
            layout.fields[spec.form_name] = build_widget(spec, PREFIX, FieldContext(model=layout.model))


def build_additional_fields(layout: Img2ImgLayout) -> None:
    """Loopback, a batch of images, a reference image."""
    with layout.part(Part.LOOPS):
        layout.fields |= build_rows(select_fields(REQUEST_FIELDS, Group.LOOPS), PREFIX)
    with layout.part(Part.BATCH), gr.Accordion("Batch: many images", open=False, elem_id=f"{PREFIX}batch-images"):
        layout.fields["batch"] = image_fields.build_image_pad(
            "Images", name=f"{PREFIX}batch", many=True, hint="All of them are worked on, instead of the one above"
        )
    with layout.part(Part.REFERENCE), gr.Accordion("Reference image", open=False, elem_id=f"{PREFIX}references"):
        layout.fields["reference"] = image_fields.build_image_pad(
            "Reference", name=f"{PREFIX}reference", hint="The result takes after it"
        )
        with gr.Row(elem_classes="pair"):
            weight = build_slider(
                "Reference weight", f"{PREFIX}reference-weight", (0, 2, 0.05), 0.6, "1 is full effect, 0 none."
            )
            style = build_checkbox("Style only", f"{PREFIX}reference-style", False, "Leave out its content.")
        layout.fields |= {"reference_weight": weight, "reference_style": style}

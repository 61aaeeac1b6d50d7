"""The form's fields: built in groups, shown and filled by what the chosen model is and can do.

`prefix` sets the element ids of one tab apart from another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.field_spec import RANDOM_SEED, ChoiceSource, FieldSpec, Group, Widget, get_field, select_fields
from studio.core.fields import HIRES_FIELDS, REQUEST_FIELDS
from studio.core.grid import PARAMETERS
from studio.core.model import Feature, Model
from studio.tabs.common.choices import CUSTOM_SIZE, list_size_choices
from studio.tabs.common.events import UNQUEUED, show_errors
from studio.tabs.common.field_widgets import (
    FieldContext,
    build_rows,
    build_widget,
    get_initial_value,
    list_field_choices,
)
from studio.tabs.common.form import Form
from studio.tabs.common.form_values import AXES, LORA_SLOTS, MAX_SLOT_WEIGHT, NONE
from studio.tabs.common.region_values import list_area_fields
from studio.tabs.common.widgets import MIN_WIDTH, build_dropdown, build_slider, build_textbox

_MODEL_DEPENDENT_FIELDS = (*REQUEST_FIELDS, *HIRES_FIELDS)  # fields that change when another model is chosen


def build_prompt_fields(prefix: str = "") -> dict[str, Component]:
    """Prompt and negative prompt."""
    return {
        spec.form_name: build_widget(spec, prefix, elem_classes="prompt", autofocus=spec.name == "prompt")
        for spec in select_fields(REQUEST_FIELDS, Group.PROMPT)
    }


def build_model_fields(model: Model, styles: Sequence[str], prefix: str = "") -> dict[str, Component]:
    """The model, and the style presets beside it."""
    with gr.Row(elem_classes="pair"):
        chosen = build_widget(get_field(REQUEST_FIELDS, "model"), prefix, FieldContext(model=model), value=model.id)
        style = build_dropdown(
            "Styles", f"{prefix}styles", styles, [], "Presets added to both prompts.", multiselect=True
        )
    followed = gr.Textbox(model.id, visible=False)  # whose values are on the form, so far as nobody has changed them
    return {"model": chosen, "followed": followed, "styles": style}


def build_size_fields(model: Model, prefix: str = "") -> dict[str, Component]:
    """A list of good sizes, width and height."""
    width, height = model.sizes.liked[0]
    with gr.Row(elem_classes="sizes"):
        sizes = list_size_choices(model)
        preset = build_dropdown("Size", f"{prefix}size", sizes, f"{width}x{height}", "Recommended sizes.", scale=3)
        options: dict[str, Any] = {"step": model.sizes.multiple, "min_width": 64, "scale": 2}
        wide = build_widget(get_field(REQUEST_FIELDS, "width"), prefix, value=width, **options)
        swap = gr.Button("⇄", elem_classes="icon", elem_id=f"{prefix}swap", min_width=40, scale=0)
        high = build_widget(get_field(REQUEST_FIELDS, "height"), prefix, value=height, **options)
    swap.click(
        fn=None,
        inputs=[wide, high],
        outputs=[wide, high],
        js="(width, height) => [height, width]",
        api_visibility="private",
    )
    return {"size": preset, "width": wide, "height": high}


def build_result_fields(model: Model) -> dict[str, Component]:
    """Whether the model's own network enlarges the image, and whether several things are composed; each for models that
    can."""
    fields: dict[str, Component] = {}
    with gr.Row(elem_classes="result-fields"):
        for spec in select_fields(REQUEST_FIELDS, Group.ENLARGE):
            fields[spec.form_name] = box = build_widget(spec, context=FieldContext(model=model), min_width=140)
            box.visible = spec.feature in model.features
    return fields


def build_sampling_fields(
    model: Model, prefix: str = "", fields: Sequence[FieldSpec] = REQUEST_FIELDS
) -> dict[str, Component]:
    """Steps, CFG scale, sampler and schedule type."""
    found = sorted(select_fields(fields, Group.SAMPLING), key=lambda spec: spec.widget is Widget.DROPDOWN)
    return build_rows(found, prefix, FieldContext(model=model))


def build_seed_fields(prefix: str = "") -> dict[str, Component]:
    """Seed with its buttons, number of images, batch size."""
    with gr.Row(elem_classes="seeds"):
        seed = build_widget(get_field(REQUEST_FIELDS, "seed"), prefix, min_width=90, scale=4, elem_classes="seed-field")
        random = gr.Button("⚄", elem_classes="icon", elem_id=f"{prefix}seed-random", min_width=40, scale=0)
        reuse = gr.Button("♻", elem_classes="icon", elem_id=f"{prefix}seed-reuse", min_width=40, scale=0)
        counts = {
            name: build_widget(get_field(REQUEST_FIELDS, name), prefix, min_width=64, scale=2)
            for name in ("count", "batch_size")
        }
    random.click(fn=None, outputs=[seed], js=f"() => ['{RANDOM_SEED}']", api_visibility="private")
    reuse.click(
        fn=None,
        inputs=[seed],
        outputs=[seed],
        js="async (seed) => [(await window.easel.getShownSeed()) ?? seed]",
        api_visibility="private",
    )
    return {"seed": seed, **counts}


def build_lora_fields(prefix: str = "") -> dict[str, Component]:
    """A few LoRAs with their weights; a slot shows when the one before it is taken."""
    fields: dict[str, Component] = {}
    for slot in range(LORA_SLOTS):
        with gr.Row(elem_classes="pair", visible=slot == 0) as row:
            name = build_dropdown(
                f"LoRA {slot + 1}",
                f"{prefix}lora-{slot}",
                [NONE],
                NONE,
                "Small add-on that teaches the model a style or a subject.",
            )
            weight = build_slider(
                "LoRA weight",
                f"{prefix}lora-weight-{slot}",
                (-MAX_SLOT_WEIGHT, MAX_SLOT_WEIGHT, 0.05),
                1,
                "1 is full effect, 0 none.",
            )
        fields |= {f"lora_{slot}": name, f"lora_weight_{slot}": weight}
        if slot:
            before = fields[f"lora_{slot - 1}"]
            before.change(  # pyright: ignore[reportAttributeAccessIssue] - Gradio adds its events when it is imported
                show_errors(lambda taken: gr.update(visible=taken != NONE)),
                before,
                row,
                **UNQUEUED,
            )
    return fields


def build_detail_fields(prefix: str = "", fields: Sequence[FieldSpec] = REQUEST_FIELDS) -> dict[str, Component]:
    """VAE, clip skip, prompt weights, variation, and what to save."""
    return build_rows(select_fields(fields, Group.DETAILS), prefix)


def build_grid_fields(prefix: str = "") -> dict[str, Component]:
    """Up to three axes."""
    fields: dict[str, Component] = {}
    for axis, where in zip(AXES, ("columns", "rows", "sheets"), strict=True):
        with gr.Row(elem_classes="pair"):
            parameter = build_dropdown(
                f"{axis.upper()} axis",
                f"{prefix}axis-{axis}",
                [NONE, *PARAMETERS],
                NONE,
                f"Parameter that changes between {where}.",
                scale=2,
            )
            values = build_textbox(
                "Values",
                f"{prefix}axis-{axis}-values",
                "Separated by commas; numbers take ranges such as 1-5, 10-30 (+5) or 1-10 [4].",
                min_width=MIN_WIDTH,
                scale=3,
                max_lines=3,
            )
        fields |= {f"axis_{axis}": parameter, f"axis_{axis}_values": values}
        parameter.change(
            show_errors(lambda name: gr.update(placeholder=PARAMETERS[name].example if name in PARAMETERS else "")),
            parameter,
            values,
            **UNQUEUED,
        )
    return fields


def update_for_model(form: Form, model: Model) -> dict[Component, Any]:
    """The updates of the form when `model` is chosen: fields that it lacks go, the rest take its defaults and
    choices."""
    sizes = model.sizes
    width, height = sizes.liked[0] if sizes.liked else (None, None)
    changes: dict[str, dict[str, Any]] = {
        "size": {"choices": list_size_choices(model), "value": f"{width}x{height}" if width else CUSTOM_SIZE},
        "width": {"value": width, "step": sizes.multiple},
        "height": {"value": height, "step": sizes.multiple},
    }
    context = FieldContext(model=model)
    for spec in _MODEL_DEPENDENT_FIELDS:
        change = changes.setdefault(spec.form_name, {})
        if spec.source in (ChoiceSource.SAMPLERS, ChoiceSource.SCHEDULES):
            change |= {"choices": list_field_choices(spec, context), "value": get_initial_value(spec, model)}
        elif spec.from_model:
            change["value"] = get_initial_value(spec, model)
        if spec.feature is not None:
            change["visible"] = spec.feature in model.features
    for name in list_area_fields():
        changes[name] = {"visible": Feature.REGIONS in model.features}
    return {form[name]: gr.update(**change) for name, change in changes.items() if change and name in form.fields}

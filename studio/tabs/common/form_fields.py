"""The form's fields: built in groups, shown and filled by what the chosen model is and can do.

`prefix` sets the element ids of one tab apart from another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.grid import PARAMETERS
from studio.core.model import Feature, Model
from studio.core.weights import WeightFile, WeightKind
from studio.tabs.common.choices import (
    CUSTOM_SIZE,
    list_model_choices,
    list_schedule_choices,
    list_size_choices,
    list_weight_names,
)
from studio.tabs.common.events import UNQUEUED
from studio.tabs.common.form import Form
from studio.tabs.common.form_values import AUTOMATIC, AXES, LORA_SLOTS, NONE, RANDOM_SEED, SAME_AS_FIRST, SAVINGS
from studio.tabs.common.widgets import build_dropdown, build_number, build_slider

# the features behind each field; a field without an entry is always there
FEATURES: Mapping[str, Feature] = {
    "negative_prompt": Feature.NEGATIVE_PROMPT,
    "prompt_weight": Feature.PROMPT_SYNTAX,
    "negative_weight": Feature.PROMPT_SYNTAX,
    "steps": Feature.STEPS,
    "guidance": Feature.GUIDANCE,
    "sampler": Feature.SAMPLER,
    "schedule": Feature.SAMPLER,
    "seed": Feature.SEED,
    "variation_seed": Feature.VARIATION,
    "variation_strength": Feature.VARIATION,
    "clip_skip": Feature.CLIP_SKIP,
    "strength": Feature.STRENGTH,
    "vae": Feature.VAE,
}


def build_prompt_fields(prefix: str = "") -> dict[str, Component]:
    """Prompt and negative prompt."""
    prompt = gr.Textbox(
        label="Prompt",
        lines=2,
        max_lines=10,
        placeholder="What should the image show?",
        elem_id=f"{prefix}prompt",
        elem_classes="prompt",
        max_length=20_000,
        autofocus=True,
    )
    negative = gr.Textbox(
        label="Negative prompt",
        lines=1,
        max_lines=6,
        placeholder="What should it not show?",
        elem_id=f"{prefix}negative-prompt",
        elem_classes="prompt",
        max_length=20_000,
    )
    return {"prompt": prompt, "negative_prompt": negative}


def build_model_fields(
    models: Sequence[Model], model: Model, styles: Sequence[str], prefix: str = ""
) -> dict[str, Component]:
    """The model, and the style presets beside it."""
    with gr.Row(elem_classes="pair"):
        chosen = gr.Dropdown(
            list_model_choices(models),
            value=model.id,
            label="Model",
            elem_id=f"{prefix}model",
            min_width=120,
            info="What draws the image.",
            allow_custom_value=True,
        )
        style = gr.Dropdown(
            list(styles),
            value=[],
            multiselect=True,
            label="Styles",
            elem_id=f"{prefix}styles",
            min_width=120,
            info="Words around your prompts.",
            allow_custom_value=True,
        )
    return {"model": chosen, "styles": style}


def build_size_fields(model: Model, prefix: str = "") -> dict[str, Component]:
    """A list of good sizes, width and height."""
    width, height = model.sizes.liked[0]
    with gr.Row(elem_classes="sizes"):
        preset = gr.Dropdown(
            list_size_choices(model),
            value=f"{width}x{height}",
            label="Size",
            elem_id=f"{prefix}size",
            min_width=120,
            scale=3,
            info="What this model likes.",
            allow_custom_value=True,
        )
        step = model.sizes.multiple
        wide = gr.Number(
            width,
            label="Width",
            precision=0,
            step=step,
            min_width=64,
            scale=2,
            elem_id=f"{prefix}width",
            info="In pixels.",
        )
        swap = gr.Button("⇄", elem_classes="icon", elem_id=f"{prefix}swap", min_width=40, scale=0)
        high = gr.Number(
            height,
            label="Height",
            precision=0,
            step=step,
            min_width=64,
            scale=2,
            elem_id=f"{prefix}height",
            info="In pixels.",
        )
    swap.click(
        fn=None,
        inputs=[wide, high],
        outputs=[wide, high],
        js="(width, height) => [height, width]",
        api_visibility="private",
    )
    return {"size": preset, "width": wide, "height": high}


def build_sampling_fields(model: Model, prefix: str = "") -> dict[str, Component]:
    """Steps, guidance, sampler and schedule."""
    sampling = model.sampling
    with gr.Row(elem_classes="pair"):
        steps = gr.Slider(
            1,
            150,
            value=sampling.steps,
            step=1,
            label="Steps",
            elem_id=f"{prefix}steps",
            min_width=120,
            info="More: slower, finer.",
        )
        guidance = gr.Slider(
            0,
            30,
            value=sampling.guidance,
            step=0.1,
            label="Guidance",
            elem_id=f"{prefix}guidance",
            min_width=120,
            info="The CFG scale.",
        )
    with gr.Row(elem_classes="pair"):
        sampler = gr.Dropdown(
            list(sampling.combinations) or [sampling.sampler],
            value=sampling.sampler,
            label="Sampler",
            elem_id=f"{prefix}sampler",
            min_width=120,
            info="The method that removes the noise.",
            allow_custom_value=True,
        )
        schedule = gr.Dropdown(
            list_schedule_choices(model, sampling.sampler),
            value=sampling.schedule,
            label="Schedule",
            elem_id=f"{prefix}schedule",
            min_width=120,
            info="How the noise falls from step to step.",
            allow_custom_value=True,
        )
    return {"steps": steps, "guidance": guidance, "sampler": sampler, "schedule": schedule}


def build_seed_fields(prefix: str = "") -> dict[str, Component]:
    """Seed with its buttons, number of images, images at once."""
    with gr.Row(elem_classes="seeds"):
        seed = gr.Number(
            RANDOM_SEED,
            label="Seed",
            precision=0,
            min_width=90,
            scale=4,
            elem_id=f"{prefix}seed",
            info="-1 draws a new one.",
            elem_classes="seed-field",
        )
        random = gr.Button("⚄", elem_classes="icon", elem_id=f"{prefix}seed-random", min_width=40, scale=0)
        reuse = gr.Button("♻", elem_classes="icon", elem_id=f"{prefix}seed-reuse", min_width=40, scale=0)
        count = gr.Number(
            1,
            label="Images",
            precision=0,
            minimum=1,
            maximum=1000,
            min_width=64,
            scale=2,
            elem_id=f"{prefix}count",
            info="How many.",
        )
        batch = gr.Number(
            1,
            label="At once",
            precision=0,
            minimum=1,
            maximum=64,
            min_width=64,
            scale=2,
            elem_id=f"{prefix}batch-size",
            info="Batch size.",
        )
    random.click(fn=None, outputs=[seed], js=f"() => [{RANDOM_SEED}]", api_visibility="private")
    reuse.click(
        fn=None, inputs=[seed], outputs=[seed], js="(seed) => [window.easel.seed() ?? seed]", api_visibility="private"
    )
    return {"seed": seed, "count": count, "batch_size": batch}


def build_lora_fields(weights: Sequence[WeightFile], prefix: str = "") -> dict[str, Component]:
    """A few LoRAs with their weights; a slot shows when the one before it is taken."""
    names = list_weight_names(weights, WeightKind.LORA)
    fields: dict[str, Component] = {}
    for slot in range(LORA_SLOTS):
        with gr.Row(elem_classes="pair", visible=slot == 0) as row:
            name = gr.Dropdown(
                [NONE, *names],
                value=NONE,
                label=f"LoRA {slot + 1}",
                elem_id=f"{prefix}lora-{slot}",
                min_width=120,
                info="A small add-on that teaches the model a style or a subject.",
                allow_custom_value=True,
            )
            weight = gr.Slider(
                -2,
                2,
                value=1,
                step=0.05,
                label="Weight",
                elem_id=f"{prefix}lora-weight-{slot}",
                min_width=120,
                info="1 is full effect, 0 none.",
            )
        fields |= {f"lora_{slot}": name, f"lora_weight_{slot}": weight}
        if slot:
            before = fields[f"lora_{slot - 1}"]
            before.change(  # pyright: ignore[reportAttributeAccessIssue] - Gradio adds its events when it is imported
                lambda taken: gr.update(visible=taken != NONE),
                before,
                row,
                **UNQUEUED,
            )
    return fields


def build_detail_fields(weights: Sequence[WeightFile], prefix: str = "") -> dict[str, Component]:
    """VAE, CLIP skip, prompt weights, variation, and what to save."""
    with gr.Row(elem_classes="pair"):
        vaes = [AUTOMATIC, *list_weight_names(weights, WeightKind.VAE)]
        vae = build_dropdown("VAE", f"{prefix}vae", vaes, AUTOMATIC, "Turns the model's numbers into pixels.")
        clip_skip = build_slider(
            "Clip skip", f"{prefix}clip-skip", (1, 12, 1), 1, "2 leaves out the text encoder's last layer."
        )
    with gr.Row(elem_classes="pair"):
        weight = build_slider("Prompt weight", f"{prefix}prompt-weight", (0, 2, 0.05), 1, "Of the whole prompt.")
        negative = build_slider(
            "Negative prompt weight", f"{prefix}negative-weight", (0, 2, 0.05), 1, "Of the whole negative prompt."
        )
    with gr.Row(elem_classes="pair"):
        strength = build_slider(
            "Variation strength",
            f"{prefix}variation-strength",
            (0, 1, 0.01),
            0,
            "Above 0, images lean from the seed towards the variation seed.",
        )
        seed = build_number("Variation seed", f"{prefix}variation-seed", RANDOM_SEED, "-1 draws one.")
    saving = gr.Radio(
        list(SAVINGS),
        value=next(iter(SAVINGS)),
        label="Optimise",
        elem_id=f"{prefix}saving",
        info=(
            "Memory: one image at a time, decoded in tiles. Time: few steps, fast sampler. The result says what"
            " changed."
        ),
    )
    return {
        "vae": vae,
        "clip_skip": clip_skip,
        "prompt_weight": weight,
        "negative_weight": negative,
        "variation_strength": strength,
        "variation_seed": seed,
        "saving": saving,
    }


def build_grid_fields(prefix: str = "") -> dict[str, Component]:
    """Up to three axes."""
    fields: dict[str, Component] = {}
    for letter, where in zip(AXES, ("columns", "rows", "sheets"), strict=True):
        with gr.Row(elem_classes="pair"):
            parameter = gr.Dropdown(
                [NONE, *PARAMETERS],
                value=NONE,
                label=f"{letter.upper()} axis",
                elem_id=f"{prefix}axis-{letter}",
                min_width=120,
                scale=2,
                info=f"What changes from one to the next, as {where}.",
                allow_custom_value=True,
            )
            values = gr.Textbox(
                label="Values",
                elem_id=f"{prefix}axis-{letter}-values",
                min_width=120,
                scale=3,
                max_lines=3,
                info="Separated by commas; ranges such as 1-5, 10-30 (+5) or 1-10 [4] for numbers.",
            )
        fields |= {f"axis_{letter}": parameter, f"axis_{letter}_values": values}
        parameter.change(
            lambda name: gr.update(placeholder=PARAMETERS[name].example if name in PARAMETERS else ""),
            parameter,
            values,
            **UNQUEUED,
        )
    return fields


def update_for_model(form: Form, model: Model) -> dict[Component, Any]:
    """What changes on the form when `model` is chosen: fields that it lacks go, the rest take its defaults and
    choices."""
    sampling, sizes = model.sampling, model.sizes
    width, height = sizes.liked[0] if sizes.liked else (None, None)
    changes: dict[str, dict[str, Any]] = {
        "size": {"choices": list_size_choices(model), "value": f"{width}x{height}" if width else CUSTOM_SIZE},
        "width": {"value": width, "step": sizes.multiple},
        "height": {"value": height, "step": sizes.multiple},
        "steps": {"value": sampling.steps},
        "guidance": {"value": sampling.guidance},
        "sampler": {"choices": list(sampling.combinations) or [sampling.sampler], "value": sampling.sampler},
        "schedule": {"choices": list_schedule_choices(model, sampling.sampler), "value": sampling.schedule},
        "hires_sampler": {"choices": [SAME_AS_FIRST, *sampling.combinations], "value": SAME_AS_FIRST},
    }
    for name, feature in FEATURES.items():
        changes.setdefault(name, {})["visible"] = feature in model.features
    return {form[name]: gr.update(**change) for name, change in changes.items() if name in form.fields}

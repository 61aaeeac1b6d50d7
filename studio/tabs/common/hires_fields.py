"""The fields of the hires pass."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from studio.core.model import Model
from studio.core.weights import WeightFile, WeightKind
from studio.tabs.common.choices import list_model_choices, list_weight_names
from studio.tabs.common.form_values import SAME_AS_FIRST
from studio.tabs.common.widgets import build_dropdown, build_number, build_slider

# the upscalers that need no file: in latent space as AUTOMATIC1111 names them, and on pixels
UPSCALERS = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
    "Lanczos",
    "Nearest",
)


def build_hires_fields(models: Sequence[Model], model: Model, weights: Sequence[WeightFile]) -> dict[str, Component]:
    """A second, larger pass: how far, how strongly, and what it does differently from the first."""
    on = gr.Checkbox(
        False,
        label="Enlarge the image and draw it again",
        elem_id="hires-on",
        info="Adds detail that a small image has no room for.",
    )
    upscalers = [*UPSCALERS, *list_weight_names(weights, WeightKind.UPSCALER)]
    with gr.Row(elem_classes="pair"):
        upscaler = build_dropdown(
            "Upscaler", "hires-upscaler", upscalers, upscalers[0], "Enlarges the image before the second pass."
        )
        scale = build_slider("Scale", "hires-scale", (1, 4, 0.05), 2, "Times the first size.")
    with gr.Row(elem_classes="pair"):
        strength = build_slider(
            "Denoising strength",
            "hires-strength",
            (0, 1, 0.01),
            0.7,
            "How much may change: 0 keeps the image, 1 draws it anew.",
        )
        steps = build_slider("Hires steps", "hires-steps", (0, 150, 1), 0, "0: as in the first pass.")
    with gr.Row(elem_classes="pair"):
        width = build_number("Target width", "hires-width", 0, "0: by scale.", min_width=100)
        height = build_number("Target height", "hires-height", 0, "0: by scale.", min_width=100)
        guidance = build_number(
            "Hires CFG scale", "hires-guidance", 0, "0: as in the first pass.", min_width=100, precision=None
        )
    return {
        "hires_on": on,
        "hires_upscaler": upscaler,
        "hires_scale": scale,
        "hires_strength": strength,
        "hires_steps": steps,
        "hires_width": width,
        "hires_height": height,
        "hires_guidance": guidance,
        **_build_override_fields(models, model),
    }


def _build_override_fields(models: Sequence[Model], model: Model) -> dict[str, Component]:
    """What the second pass may have of its own."""
    schedules = {name: None for names in model.sampling.combinations.values() for name in names}
    with gr.Row(elem_classes="pair"):
        sampler = gr.Dropdown(
            [SAME_AS_FIRST, *model.sampling.combinations],
            value=SAME_AS_FIRST,
            label="Hires sampler",
            elem_id="hires-sampler",
            min_width=120,
            info="The method of the second pass.",
            allow_custom_value=True,
        )
        schedule = gr.Dropdown(
            [SAME_AS_FIRST, *schedules],
            value=SAME_AS_FIRST,
            label="Hires schedule",
            elem_id="hires-schedule",
            min_width=120,
            info="How the noise falls in the second pass.",
            allow_custom_value=True,
        )
    own = gr.Dropdown(
        [(SAME_AS_FIRST, SAME_AS_FIRST), *list_model_choices(models)],
        value=SAME_AS_FIRST,
        label="Hires model",
        elem_id="hires-model",
        info="A checkpoint for the second pass alone.",
        allow_custom_value=True,
    )
    prompt = gr.Textbox(
        label="Hires prompt",
        lines=1,
        max_lines=6,
        elem_id="hires-prompt",
        info="Empty: as in the first pass.",
        max_length=20_000,
    )
    negative = gr.Textbox(
        label="Hires negative prompt",
        lines=1,
        max_lines=6,
        elem_id="hires-negative-prompt",
        info="Empty: as in the first pass.",
        max_length=20_000,
    )
    return {
        "hires_sampler": sampler,
        "hires_schedule": schedule,
        "hires_model": own,
        "hires_prompt": prompt,
        "hires_negative_prompt": negative,
    }

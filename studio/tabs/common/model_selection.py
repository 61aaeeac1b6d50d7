"""Models that are chosen when a job comes: "Automatic", the cheapest of a quality, and those to try when the chosen one
cannot be had."""

from __future__ import annotations

import gradio as gr
from gradio.components import Component

from studio.core.errors import UnknownModel
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.model_ids import AUTO_PREFIX
from studio.core.task import Task
from studio.engine.studio import Studio

AUTOMATIC_MODELS = tuple(
    Model(
        id=f"{AUTO_PREFIX}{quality}",
        title=f"Automatic: {quality}",
        family="",
        lane="",
        quality=quality,
        sizes=Sizes(liked=()),
        features=frozenset({Feature.NEGATIVE_PROMPT, Feature.SEED}),
        note=(
            f"The cheapest available model of quality “{quality}” or the nearest to it, and that can do what"
            " the form asks for; the next ones when it cannot be reached. Without width and height it draws the size"
            " it likes."
        ),
    )
    for quality in Quality
)


def get_selectable_model(studio: Studio, model_id: str, task: Task = Task.TXT2IMG) -> Model:
    """The model of that id, or the entry of `AUTOMATIC`; raises as Engine.model."""
    return next((model for model in AUTOMATIC_MODELS if model.id == model_id), None) or studio.engine.model(
        model_id, task
    )


def find_selectable_model(studio: Studio, model_id: str, task: Task = Task.TXT2IMG) -> Model | None:
    """As `get_selectable_model`; None where there is none of that id."""
    try:
        return get_selectable_model(studio, model_id, task) if model_id else None
    except UnknownModel:
        return None


def list_selectable_models(studio: Studio, task: Task = Task.TXT2IMG) -> tuple[Model, ...]:
    """The models for `task`, and after them the automatic choices where there is anything to choose from by quality."""
    models = studio.engine.models(task)
    return (*models, *AUTOMATIC_MODELS) if task.is_generative and models else models


def build_fallback_fields(prefix: str = "") -> dict[str, Component]:
    """The models to try, in this order, when the chosen one cannot be reached, is busy or is broken."""
    choice = gr.Dropdown(
        [],
        value=[],
        multiselect=True,
        allow_custom_value=True,
        max_choices=8,
        label="Fallback models",
        elem_id=f"{prefix}fallbacks",
        info=(
            "Tried in this order if the model is unreachable. Never used after a content refusal or after money"
            " may have been spent."
        ),
    )
    return {"fallbacks": choice}

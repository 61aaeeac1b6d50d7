"""Buttons below a prompt: a random prompt, and phrases for what the prompt does not say.

The page's own script shows them over the HTTP API (studio/assets/js/prompts)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from studio.core.errors import UnknownModel
from studio.engine.studio import Studio
from studio.prompting.random_prompts import SUBJECTS
from studio.tabs.common import choice_lists, model_selection
from studio.tabs.common.events import UNQUEUED, Updates, show_errors
from studio.tabs.common.form import Form
from studio.tabs.common.image_fields import build_scripted_field


def build_prompt_tools(prefix: str = "", pad: str = "", *, restores: bool = False) -> None:
    """The buttons. `pad` names the pad whose image can be described, "" for none; with `restores` the form takes
    settings back from images and infotext."""
    build_scripted_field(
        "prompts", f"{prefix}prompt-tools", prefix=prefix, pad=pad, restores=restores, subjects=SUBJECTS
    )


def build_model_switch(prefix: str = "") -> gr.Textbox:
    """The field, out of sight, into which the buttons and the list of models write the id of the model to use."""
    return gr.Textbox("", elem_id=f"{prefix}switch-model", elem_classes="store", show_label=False, max_length=512)


def wire_model_switch(
    studio: Studio, form: Form, switch: gr.Textbox, follow: Callable[..., Any], inputs: set[Any], outputs: set[Any]
) -> None:
    """Choose the model that was written into `switch`; `follow` is the handler of a chosen model."""

    @show_errors
    def choose(data: dict[Any, Any], request: gr.Request) -> Updates:
        model_id = str(data[switch])
        if not model_id:  # emptied below, so that the same model can be written again
            return {}
        model = model_selection.get_selectable_model(studio, model_id)
        if model.problem and not model.locked:  # a locked one is chosen to see what it needs
            raise UnknownModel(f"{model.title} cannot be used: {model.problem}", hint="Pick another model.")
        followed = follow({**data, form["model"]: model.id}, request)
        updates: Updates = followed if isinstance(followed, dict) else {}
        updates[form["model"]] = {**updates.get(form["model"], gr.update()), "value": model.id}
        return {**choice_lists.add_model_titles(studio, form, updates), switch: ""}

    switch.change(choose, {*inputs - {form["model"]}, switch}, {*outputs, form["model"], switch}, **UNQUEUED)

"""Saved recipes on a form: the form kept under a name, and put back from one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.file_ids import MAX_NAME_CHARS
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, UNQUEUED, Updates, show_errors, show_info
from studio.tabs.common.form import Form
from studio.tabs.common.widgets import build_dropdown, build_textbox


@dataclass(frozen=True)
class RecipeFields:
    """The list of recipes and its button; a name and its button."""

    chosen: gr.Dropdown
    load: gr.Button
    name: gr.Textbox
    save: gr.Button


def build_recipes_accordion() -> RecipeFields:
    """A closed accordion with the fields; the list is filled when it gets the focus."""
    with gr.Accordion("Recipes", open=False, elem_id="recipes"):
        chosen = build_dropdown("Recipe", "recipe-chosen", [], None, "All settings of the form, saved under a name.")
        load = gr.Button("Load recipe", size="sm", elem_id="recipe-load")
        name = build_textbox("Save as", "recipe-name", max_length=MAX_NAME_CHARS, max_lines=1)
        save = gr.Button("Save recipe", size="sm", elem_id="recipe-save")
    return RecipeFields(chosen, load, name, save)


def wire_recipes(
    studio: Studio,
    form: Form,
    fields: RecipeFields,
    *,
    ask: Callable[[dict[str, Any], User], GenerationRequest],
    fill: Callable[[GenerationRequest], Updates],
    outputs: set[Any],
) -> None:
    """`ask` makes the request of the form's values, `fill` puts one onto the form, by updates of `outputs` and the
    form."""

    def list_choices(user: User) -> list[tuple[str, str]]:
        return [(recipe.name, recipe.id) for recipe in studio.engine.recipes.of(user.name).all()]

    @show_errors
    def refresh(request: gr.Request) -> Any:
        return gr.update(choices=list_choices(get_user(request)))

    @show_errors
    def load(recipe_id: Any, request: gr.Request) -> Updates:
        if not recipe_id:
            raise InvalidRequest("No recipe is chosen.", hint="Choose one from the list.")
        recipe = studio.engine.recipes.of(get_user(request).name).get(str(recipe_id))
        return {**fill(recipe.request), fields.name: gr.update(value=recipe.name if recipe.own else "")}

    @show_errors
    def save(packet: Any, name: Any, request: gr.Request) -> Updates:
        user = get_user(request)
        recipe = studio.engine.recipes.of(user.name).save(str(name or ""), ask(form.values(packet), user))
        show_info(f"Saved as “{recipe.name}”.", title="Recipe saved")
        return {fields.chosen: gr.update(choices=list_choices(user), value=recipe.id)}

    fields.chosen.focus(refresh, None, fields.chosen, **UNQUEUED)
    fields.load.click(load, fields.chosen, {*form.components(), *outputs, fields.name}, **HIDDEN)
    form.on(fields.save.click, save, {fields.chosen}, extra=[fields.name], **HIDDEN)

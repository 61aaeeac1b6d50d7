"""Values that follow the model: they change when the model does, and only where they are still as the model before put
them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from studio.core.model import Model
from studio.tabs.common import form_fields
from studio.tabs.common.choices import CUSTOM_SIZE, list_schedule_choices, list_size_choices
from studio.tabs.common.events import Updates
from studio.tabs.common.form import Form

FOLLOWERS = (
    "size",
    "width",
    "height",
    "steps",
    "guidance",
    "sampler",
    "schedule",
    "hires_sampler",
    "enlarge",
    "compose",
    "scenery",
)
_SIZE = ("size", "width", "height")
GetSize = Callable[[Model], tuple[int, int] | None]  # the size that something else than the model asks for


def list_inputs(form: Form) -> set[Any]:
    """The inputs of a handler that calls `follow_model`, as a dict by component."""
    names = ("model", "followed", "for_format", *FOLLOWERS)
    return {form[name] for name in names if name in form.fields}


def read_inputs(form: Form, data: Mapping[Any, Any]) -> dict[str, Any]:
    """The values in `data` by the names of the form."""
    return {name: data[field] for name, field in form.fields.items() if field in data}


def show_model(form: Form, model: Model) -> Updates:
    """The updates that put all of the model's own values on the form."""
    return {**form_fields.update_for_model(form, model), form["followed"]: gr.update(value=model.id)}


def follow_model(
    form: Form, before: Model | None, model: Model, values: Mapping[str, Any], get_size: GetSize = lambda model: None
) -> Updates:
    """The updates for `model` in place of `before`. None where it is the same one; else its lists and defaults, but
    what `values` hold that `before` did not put there stays, so far as the model can do it."""
    if before is not None and before.id == model.id:
        return {}
    updates = _show_sized(form, model, get_size)
    if before is None:
        return updates
    proposed = _collect_values(form, _show_sized(form, before, get_size))
    touched = {name for name in FOLLOWERS if name in values and values[name] != proposed.get(name)}
    if touched & set(_SIZE):
        touched |= set(_SIZE) & values.keys()
    for name in touched - set(_SIZE) - {"schedule"}:
        _keep_value(updates, form, name, values[name])
    if touched & set(_SIZE) and isinstance(values.get("width"), int) and isinstance(values.get("height"), int):
        width, height = model.sizes.find_nearest_size(values["width"], values["height"])
        name = f"{width}x{height}"
        listed = name in [value for _, value in list_size_choices(model)]
        kept = {"size": name if listed else CUSTOM_SIZE, "width": width, "height": height}
        updates |= {
            form[name]: {**updates.get(form[name], {}), "value": kept[name]} for name in _SIZE if name in form.fields
        }
    return updates | _keep_schedule(form, model, updates, values, "schedule" in touched)


def _show_sized(form: Form, model: Model, get_size: GetSize) -> Updates:
    """As `show_model`, at the size that `get_size` asks for, if any."""
    updates, size = show_model(form, model), get_size(model)
    if size is not None:
        custom = {"size": CUSTOM_SIZE, "width": size[0], "height": size[1]}
        for name, value in custom.items():
            if name in form.fields:
                updates[form[name]] = {**updates.get(form[name], {}), "value": value}
    return updates


def _collect_values(form: Form, updates: Updates) -> dict[str, Any]:
    return {
        name: updates[form[name]].get("value") for name in FOLLOWERS if name in form.fields and form[name] in updates
    }


def _keep_value(updates: Updates, form: Form, name: str, value: Any) -> None:
    """Take the new value out of `updates` where the old one is among the choices, or there are none."""
    update = updates.get(form[name], {})
    choices = update.get("choices")
    if choices is None or value in [each[1] if isinstance(each, tuple) else each for each in choices]:
        updates[form[name]] = {key: kept for key, kept in update.items() if key != "value"}


def _keep_schedule(form: Form, model: Model, updates: Updates, values: Mapping[str, Any], touched: bool) -> Updates:
    """The schedules of the sampler that is left on the form."""
    if "schedule" not in form.fields or "sampler" not in form.fields:
        return {}
    sampler = updates[form["sampler"]].get("value", values.get("sampler"))
    choices = list_schedule_choices(model, str(sampler))
    wanted = values.get("schedule") if touched else updates[form["schedule"]].get("value")
    value = wanted if wanted in choices else choices[0]
    return {form["schedule"]: {**updates[form["schedule"]], "choices": choices, "value": value}}

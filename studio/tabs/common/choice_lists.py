"""Lists of models and files, which grow with the models folder: the browser gets one when it is opened, not with the
page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from fastapi import APIRouter, Request, Response
from gradio.components import Component

from studio.api.rights import needs
from studio.core.errors import NotFound
from studio.core.operations import EDITS, MODES
from studio.core.rights import Right
from studio.core.task import Task
from studio.core.weights import WeightKind
from studio.engine.studio import Studio
from studio.tabs.common.choices import list_model_choices, list_weight_names
from studio.tabs.common.control_values import UNITS, make_field_name
from studio.tabs.common.events import HIDDEN, Updates
from studio.tabs.common.form import Form
from studio.tabs.common.form_values import DETAILERS, LORA_SLOTS, name_detailer_field
from studio.tabs.common.model_selection import AUTOMATIC_MODELS

_MODELS = "models"
READY_MODELS = "ready"  # those that can be used now
_REFINERS = "refiners"
_WEIGHT_KINDS = {
    "loras": (WeightKind.LORA,),
    "vaes": (WeightKind.VAE,),
    "upscalers": (WeightKind.UPSCALER,),
    "controls": (WeightKind.CONTROLNET, WeightKind.T2I_ADAPTER),
}
_FIELDS: Mapping[str, str] = {
    "fallbacks": _MODELS,
    "hires_model": _MODELS,
    "refiner": _REFINERS,
    **{name_detailer_field("detailer_model", index): _MODELS for index in range(DETAILERS)},
    "vae": "vaes",
    "hires_upscaler": "upscalers",
    **{f"lora_{slot}": "loras" for slot in range(LORA_SLOTS)},
    **{make_field_name(index, "model"): "controls" for index in range(UNITS)},
}
"""The list of each field that has one; models are chosen from groups (model_groups.py)."""
_REVALIDATE = {"Cache-Control": "private, no-cache"}  # the browser keeps the list and asks whether it is still the same


def build_lists_router(studio: Studio) -> APIRouter:
    """The route of all lists: label and value of each choice."""
    router = APIRouter(prefix="/page/lists", include_in_schema=False, dependencies=[needs(Right.USE)])

    @router.get("/{name}")
    def get_list(name: str, request: Request, task: Task = Task.TXT2IMG) -> Response:
        content = json.dumps(list_choices(studio, name, task)).encode()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"', **_REVALIDATE}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="application/json", headers=headers)

    return router


def list_choices(studio: Studio, name: str, task: Task) -> Sequence[tuple[str, str]]:
    """The label and value of each choice of the list `name`; of models those that do `task`.

    Raises:
        NotFound: there is no list of that name.
    """
    if name == READY_MODELS:
        return list_model_choices([model for model in studio.engine.models(task) if not model.problem])
    if name == _MODELS:
        return list_model_choices(studio.engine.models(task))
    if name == _REFINERS:
        return list_model_choices([model for model in studio.engine.models(Task.IMG2IMG) if model.can_refine])
    if name not in _WEIGHT_KINDS:
        raise NotFound("There is no such list.", hint="Reload the page.")
    weights = studio.store.weights()
    names = {weight for kind in _WEIGHT_KINDS[name] for weight in list_weight_names(weights, kind)}
    return [(weight, weight) for weight in sorted(names)]


def wire_lists(form: Form) -> None:
    """Let each field of `form` that chooses from a list fetch it when it is opened; what the field was built with comes
    first. Where the form has an operation, its models are those that do it."""
    operation = [form[name] for name in ("mode", "operation") if name in form.fields]
    for name in form.fields.keys() & _FIELDS.keys():
        fetch_on_focus(form[name], _FIELDS[name], _list_fixed_choices(form, name), operation)


def fetch_on_focus(
    field: Any, name: str, fixed: Sequence[tuple[str, str]] = (), operation: Sequence[Component] = ()
) -> None:
    """Let the drop-down `field` fetch the list `name` when it is opened; `fixed` choices come before it. `operation`
    are the fields with the mode and the operation of the form, for lists of models that depend on them."""
    tasks = {title: operation.task for title, operation in {**EDITS, **MODES}.items()} if operation else {}
    options = {"field": field.elem_id, "list": name, "fixed": list(fixed), "tasks": tasks}
    field.focus(
        fn=None,
        inputs=[field, *operation],
        outputs=[field],
        js=f"async (...values) => [await window.easel.listChoices({json.dumps(options)}, ...values)]",
        **HIDDEN,
    )


def add_model_titles(studio: Studio, form: Form, updates: Updates) -> Updates:
    """`updates` of the fields of `form`, those that put models on it with the models' titles: the lists that have them
    may not have been fetched yet."""
    known = {model.id: model for model in (*studio.engine.models(), *AUTOMATIC_MODELS)}
    named: Updates = {}
    detailer_models = (name_detailer_field("detailer_model", index) for index in range(DETAILERS))
    for name in ("model", "fallbacks", "hires_model", "refiner", *detailer_models):
        update = updates.get(form.fields.get(name), {})
        if not isinstance(update, dict) or "value" not in update:
            continue
        ids = update["value"] if isinstance(update["value"], list) else [update["value"]]
        choices = list_model_choices([known[one] for one in ids if one in known])
        named[form[name]] = {**update, "choices": [*_list_fixed_choices(form, name), *choices]}
    return {**updates, **named}


def _list_fixed_choices(form: Form, name: str) -> list[Any]:
    """What the field offers whatever models and files there are."""
    field = form[name]
    assert isinstance(field, gr.Dropdown)
    return [] if name == "model" else list(field.choices or ())

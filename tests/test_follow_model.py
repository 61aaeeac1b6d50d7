"""Values that follow the model: changed by another model alone, and never where the user changed them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from page_studio import build_real_page

from studio.core.model import Feature, Model, Sampling, Sizes
from studio.core.task import Task
from studio.tabs.common import form_fields
from studio.tabs.common.choices import CUSTOM_SIZE
from studio.tabs.common.follow_model import follow_model, list_inputs, read_inputs, show_model
from studio.tabs.common.form import Form

FIRST = Model(
    id="first",
    title="First",
    family="fake",
    tasks=frozenset({Task.TXT2IMG}),
    features=frozenset(Feature),
    sizes=Sizes(liked=((512, 512),)),
    sampling=Sampling(
        steps=20, guidance=7.0, sampler="Euler a", combinations={"Euler a": ("Automatic", "Karras"), "DDIM": ("DDIM",)}
    ),
)
SECOND = dataclasses.replace(
    FIRST,
    id="second",
    sizes=Sizes(liked=((1024, 1024),)),
    sampling=Sampling(
        steps=30, guidance=5.0, sampler="UniPC", combinations={"UniPC": ("Automatic",), "Euler a": ("Karras",)}
    ),
)


@pytest.fixture
def form() -> Form:
    with gr.Blocks():
        fields = form_fields.build_model_fields(FIRST, [])
        return Form(fields | form_fields.build_size_fields(FIRST) | form_fields.build_sampling_fields(FIRST))


def get_values(form: Form, updates: dict[Any, Any]) -> dict[str, Any]:
    """What an answer puts on the form."""
    return {name: updates[field]["value"] for name, field in form.fields.items() if "value" in updates.get(field, {})}


def fill(form: Form, model: Model, **touched: Any) -> dict[str, Any]:
    """The form with the model's own values, but for those that the user typed."""
    return get_values(form, show_model(form, model)) | touched


def test_the_same_model_changes_nothing(form: Form) -> None:
    assert follow_model(form, FIRST, FIRST, fill(form, FIRST, steps=7)) == {}


def test_another_model_puts_its_values_in_where_nobody_changed_them(form: Form) -> None:
    found = get_values(form, follow_model(form, FIRST, SECOND, fill(form, FIRST)))
    assert found["followed"] == "second"
    assert (found["steps"], found["guidance"], found["sampler"], found["size"]) == (30, 5.0, "UniPC", "1024x1024")


def test_what_the_user_changed_stays_with_another_model(form: Form) -> None:
    typed = fill(form, FIRST, steps=7, sampler="Euler a", size=CUSTOM_SIZE, width=640, height=512)
    found = get_values(form, follow_model(form, FIRST, SECOND, typed))
    assert "steps" not in found, "7 stays"
    assert found["guidance"] == 5.0
    assert (found["width"], found["height"], found["size"]) == (640, 512, CUSTOM_SIZE)


def test_a_value_that_the_new_model_lacks_gives_way(form: Form) -> None:
    typed = fill(form, FIRST, sampler="DDIM", schedule="DDIM")
    found = get_values(form, follow_model(form, FIRST, SECOND, typed))
    assert (found["sampler"], found["schedule"]) == ("UniPC", "Automatic")
    typed = fill(form, SECOND, sampler="Euler a", schedule="Karras")
    found = get_values(form, follow_model(form, SECOND, FIRST, typed))
    assert found["schedule"] == "Karras"


def test_the_size_of_a_chosen_format_follows_the_model_unless_it_was_changed(form: Form) -> None:
    def get_size(model: Model) -> tuple[int, int]:
        return (512, 768) if model is FIRST else (832, 1216)

    as_proposed = fill(form, FIRST, size=CUSTOM_SIZE, width=512, height=768)
    found = get_values(form, follow_model(form, FIRST, SECOND, as_proposed, get_size))
    assert (found["width"], found["height"]) == (832, 1216)
    found = get_values(form, follow_model(form, FIRST, SECOND, as_proposed | {"height": 704}, get_size))
    assert (found["width"], found["height"]) == (512, 704)


def test_a_handler_gets_what_following_needs(form: Form) -> None:
    data = {field: name for name, field in form.fields.items() if field in list_inputs(form)}
    assert {"model", "followed", "steps", "width", "sampler"} <= read_inputs(form, data).keys()


@pytest.mark.parametrize("name", ["choose", "_choose_operation", "update_size", "update_schedules", "_load_kit"])
def test_what_follows_a_list_is_told_what_stood_there_before(tmp_path: Path, name: str) -> None:
    blocks = build_real_page(tmp_path)
    found = [event for event in blocks.fns.values() if event.fn is not None and event.fn.__name__ == name]
    assert found
    for event in found:
        hidden = [one for one in event.inputs if getattr(one, "visible", True) is False]
        own = set(event.outputs) & set(event.inputs)
        assert hidden or own, "without the value before, looking at the list would reset the form"

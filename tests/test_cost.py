"""What is told before anything is sent: the price, the pace, what a model passes over, and what stands in for one."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FAKE_MODEL, FakeBackend
from providers import make_service
from serving import make_studio
from vendor_server import VendorServer, run_vendor_server
from vendors.openai import OpenAI

from studio.core.model import Feature, Model, Quality
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.providers.openai import PROVIDER
from studio.tabs.common import choices, cost_line, form_values, model_selection
from studio.tabs.common.result_panel import render_model_note


@pytest.mark.parametrize(
    ("amount", "images", "seconds", "said"),
    [
        (None, 1, None, "Price unknown until billed."),
        (0.0, 4, 0.84, "Free, about 0.8 s an image."),
        (0.0, 1, 61.7, "Free, about 62 s an image."),
        (0.21, 1, None, "About $0.21 for 1 image."),
        (0.036, 12, None, "About $0.036 for 12 images."),
        (0.0004, 1, None, "About less than $0.001 for 1 image."),
    ],
)
def test_price_and_pace_in_words(amount: float | None, images: int, seconds: float | None, said: str) -> None:
    assert cost_line.format_estimate(amount, images, seconds) == said


def test_a_batch_and_a_grid_add_up(tmp_path: Path) -> None:
    with run_vendor_server(OpenAI()) as server:
        studio = make_studio(tmp_path, [FakeBackend(), _openai(server)], default_model="fake")
        try:
            one = GenerationRequest(model="openai/gpt-image-2", prompt="a fox", width=1024, height=1024)
            price = studio.engine.estimate(one)
            assert price
            assert cost_line.format_dollars(price) in cost_line.render_estimate(studio, one)
            assert f"{cost_line.format_dollars(2 * price)} for 2 images" in cost_line.render_estimate(
                studio, one.replace(count=2)
            )
            grid = one.replace(axes=(_axis("Size", "1024x1024", "512x512"),))
            dear, cheap = price, studio.engine.estimate(one.replace(width=512, height=512)) or 0.0
            assert f"{cost_line.format_dollars(dear + cheap)} for 2 images" in cost_line.render_estimate(studio, grid)
            assert "Free" in cost_line.render_estimate(studio, GenerationRequest(model="fake"))
            assert server.seen == [], "nothing is asked of the service"
        finally:
            studio.engine.close()


def test_a_locked_model_says_how_to_unlock_it_and_stands_last() -> None:
    locked = Model(id="a/b", title="B", family="x", lane="a", problem="it needs a key: set A_KEY.")
    broken = Model(id="c", title="C", family="x", problem="the file is damaged.")
    assert "<strong>Locked:</strong> it needs a key: set A_KEY." in render_model_note(locked)
    assert "<strong>Cannot be used:</strong>" in render_model_note(broken)
    assert choices.list_model_choices([locked, broken, FAKE_MODEL]) == [
        (FAKE_MODEL.title, FAKE_MODEL.id),
        ("B (locked)", "a/b"),
        ("C (unavailable)", "c"),
    ]


def test_what_a_model_passes_over_is_said_once() -> None:
    bare = Model(id="x", title="X", family="x", features=frozenset({Feature.STEPS}), note="Fine.")
    assert render_model_note(bare) == ('<p class="note" data-model="x">Fine. Takes no seed and no negative prompt.</p>')
    told = dataclasses.replace(bare, ignores="It has no seed and no negative prompt.")
    assert "Takes" not in render_model_note(told)
    assert "Takes" not in render_model_note(FAKE_MODEL)


def test_automatic_stands_for_the_cheapest_of_a_quality(tmp_path: Path) -> None:
    studio = make_studio(tmp_path, FakeBackend(), default_model="fake")
    try:
        listed = model_selection.list_selectable_models(studio)
        assert [model.id for model in listed] == ["fake", *(f"auto:{quality}" for quality in Quality)]
        assert model_selection.list_selectable_models(studio, Task.IMG2IMG) == (), "there is nothing to choose from"
        automatic = model_selection.get_selectable_model(studio, "auto:draft")
        assert choices.list_size_choices(automatic) == [(choices.CUSTOM_SIZE, choices.CUSTOM_SIZE)]
        assert model_selection.get_selectable_model(studio, "fake", Task.TXT2IMG).id == "fake"
        assert "Free" in cost_line.render_estimate(studio, GenerationRequest(model="auto:draft", prompt="a fox"))
    finally:
        studio.engine.close()


def test_models_to_try_instead_go_into_the_request_and_back() -> None:
    wanted = GenerationRequest(model="fake", prompt="a fox", fallbacks=("a/b", "c"))
    values = dict.fromkeys(("width", "height", "steps", "guidance", "sampler", "schedule")) | form_values.write_form(
        wanted
    )
    assert values["fallbacks"] == ["a/b", "c"]
    assert form_values.parse_request(form_values.read_common_fields(values, FAKE_MODEL)).fallbacks == ("a/b", "c")
    assert (
        form_values.parse_request(form_values.read_common_fields({**values, "fallbacks": []}, FAKE_MODEL)).fallbacks
        == ()
    )


def _openai(server: VendorServer):
    return make_service(PROVIDER, server, path="/v1")


def _axis(parameter: str, *values: str):
    from studio.core.request import Axis

    return Axis(parameter=parameter, values=values)


def test_what_is_filled_in_and_not_taken_is_said_before_it_is_sent() -> None:
    bare = Model(id="a/b", title="B", family="x", lane="a", features=frozenset({Feature.STEPS}))
    empty = {"seed": -1, "negative_prompt": " ", "lora_0": "None", "vae": "Automatic", "clip_skip": 1}
    assert cost_line.describe_ignored_fields(bare, empty) == ""
    assert (
        cost_line.describe_ignored_fields(bare, {**empty, "seed": 7})
        == "B does not support a seed; yours will be ignored."
    )
    filled = {**empty, "seed": 7, "negative_prompt": "fog", "lora_1": "soft"}
    assert (
        cost_line.describe_ignored_fields(bare, filled)
        == "B does not support a negative prompt, a seed or a LoRA; yours will be ignored."
    )
    assert cost_line.describe_ignored_fields(FAKE_MODEL, filled) == ""


def test_automatic_names_the_model_that_it_would_take(tmp_path: Path) -> None:
    studio = make_studio(tmp_path, FakeBackend(), default_model="fake")
    try:
        assert "Free. Drawn with Fake." in cost_line.render_estimate(
            studio, GenerationRequest(model="auto:high", prompt="x")
        )
    finally:
        studio.engine.close()


def test_automatic_stands_in_img2img_too_and_not_where_nothing_is_drawn(tmp_path: Path) -> None:
    able = replace(FAKE_MODEL, tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG, Task.UPSCALE}))
    studio = make_studio(tmp_path, FakeBackend(able), default_model="fake")
    try:
        assert [model.id for model in model_selection.list_selectable_models(studio, Task.IMG2IMG)][-1] == "auto:best"
        assert [model.id for model in model_selection.list_selectable_models(studio, Task.UPSCALE)] == ["fake"]
    finally:
        studio.engine.close()

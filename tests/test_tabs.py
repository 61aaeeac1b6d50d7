from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fakes import FAKE_MODEL
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import InvalidRequest, StudioError
from studio.core.events import FailedEvent, LoadingEvent, SavedEvent, Snapshot, StepEvent, WaitingEvent
from studio.core.model import Feature, Model
from studio.core.request import Axis, GenerationRequest, Hires, LoraUse, Saving
from studio.core.result import Asset
from studio.pipelines.run.hires import LATENT_MODES
from studio.pipelines.upscale.upscale_image import RESAMPLERS
from studio.tabs.common.choices import UPSCALERS
from studio.tabs.common.form_values import join_values, read_form, split_values, write_form
from studio.tabs.common.result_panel import format_status, render_result

EVIL = '"><img src=x onerror=alert(1)>`\n</script>'


def filled(request: GenerationRequest) -> dict[str, Any]:
    """Form values that ask for `request`; what it leaves to the model is empty, as the page has it then."""
    empty = dict.fromkeys(("width", "height", "steps", "guidance", "sampler", "schedule"))
    return {**empty, **write_form(request)}


@pytest.mark.parametrize(
    "request_",
    [
        GenerationRequest(model="fake", prompt="a cat", width=64, height=64),
        GenerationRequest(
            model="fake",
            prompt="a",
            seed=7,
            steps=3,
            guidance=2.5,
            sampler="Euler",
            schedule="Karras",
            count=4,
            batch_size=2,
        ),
        GenerationRequest(model="fake", negative_prompt="b", loras=(LoraUse(name="x", weight=0.5), LoraUse(name="y"))),
        GenerationRequest(
            model="fake", variation_seed=9, variation_strength=0.25, clip_skip=2, vae="soft", saving=Saving.MEMORY
        ),
        GenerationRequest(
            model="fake", hires=Hires(upscaler="Lanczos", scale=1.5, steps=4, prompt="more", model="other")
        ),
        GenerationRequest(
            model="fake", axes=(Axis(parameter="Steps", values=("1", "2")), Axis(parameter="Seed", values=("3",)))
        ),
    ],
)
def test_what_is_written_to_the_form_is_read_from_it(request_: GenerationRequest) -> None:
    assert read_form(filled(request_), FAKE_MODEL) == request_


def test_what_the_model_lacks_is_left_out() -> None:
    bare = Model(id="bare", title="Bare", family="x", features=frozenset({Feature.SEED}))
    asked = GenerationRequest(
        model="bare",
        prompt="a",
        negative_prompt="b",
        steps=3,
        guidance=3.0,
        clip_skip=2,
        vae="v",
        loras=(LoraUse(name="l"),),
        hires=Hires(),
        prompt_weight=1.5,
    )
    assert read_form(filled(asked), bare) == GenerationRequest(model="bare", prompt="a")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 0),
        ("count", "three"),
        ("saving", 5),
        ("prompt", 7),
        ("steps", -1),
        ("axis_x", "Steps"),
        ("width", 1e9),
    ],
)
def test_values_that_do_not_fit_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_form({**filled(GenerationRequest(model="fake")), field: value}, FAKE_MODEL)
    assert caught.value.hint


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1).map(str.strip).filter(bool)).map(tuple))
def test_axis_values_survive_the_text_field(values: tuple[str, ...]) -> None:
    assert split_values(join_values(values)) == values


def asset(prompt: str) -> Asset:
    request = GenerationRequest(model="fake", prompt=prompt)
    return Asset(
        id="job-0",
        job_id="job",
        user="local",
        index=0,
        path=Path(f"{EVIL}.png"),
        width=64,
        height=64,
        seed=1,
        created=0.0,
        request=request,
        infotext=f"{prompt}\nSteps: 1",
        notes=(EVIL,),
    )


def test_the_hires_list_offers_what_the_pipelines_have() -> None:
    """The page may not import pipelines, so the names stand twice; they must not drift apart."""
    assert set(UPSCALERS) == {*LATENT_MODES, *RESAMPLERS}


def test_nothing_that_a_user_wrote_becomes_markup() -> None:
    snapshot = Snapshot().after(SavedEvent(asset(EVIL))).after(FailedEvent(StudioError(EVIL, hint=EVIL)))
    assert "<img src=x" not in render_result(snapshot, EVIL)
    assert "</script>" not in render_result(snapshot, EVIL)


def test_the_status_is_told_in_plain_words() -> None:
    assert format_status(Snapshot().after(WaitingEvent(2, 30.0))) == "2 jobs ahead of yours · about 30 s left"
    assert format_status(Snapshot().after(WaitingEvent(0, 0.0))) == "Next in line"
    assert format_status(Snapshot().after(StepEvent(3, 20, 1, 1, eta=4.0))) == "Step 3 of 20 · about 4 s left"


def test_loading_shows_how_long_it_took_before_and_why_it_loads() -> None:
    began = time.monotonic() - 3
    known = Snapshot().after(LoadingEvent("Loading Model", 12.0, began))
    assert format_status(known) == "Loading Model · about 9 s left"
    assert 'aria-valuenow="25"' in render_result(known, "job")
    assert "The first use loads the model." in render_result(known, "job")
    late = Snapshot().after(LoadingEvent("Loading Model", 2.0, began))
    assert format_status(late) == "Loading Model"
    assert 'aria-valuenow="95"' in render_result(late, "job")
    unknown = Snapshot().after(LoadingEvent("Loading Model"))
    assert "bar-waiting" in render_result(unknown, "job")
    assert "The first use" not in render_result(Snapshot().after(LoadingEvent("Starting")), "job")

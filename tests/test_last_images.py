"""A job that ends with nothing leaves the images on the page that stood there before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fakes import FakeBackend, open_engine

from studio.core.errors import ModelBroken
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER, User
from studio.engine.engine import Engine
from studio.tabs.common.run_job import JobPanel, LastImages, reattach_job, run_request


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def engine(tmp_path: Path, backend: FakeBackend) -> Iterator[Engine]:
    opened = open_engine(tmp_path, backend)
    yield opened
    opened.close()


@pytest.fixture
def panel() -> JobPanel:
    with gr.Blocks():
        names = [field for field in JobPanel.__dataclass_fields__ if field not in ("last", "verb")]
        return JobPanel(**{name: gr.Textbox() for name in names})  # type: ignore[arg-type]


def run(engine: Engine, panel: JobPanel, prompt: str, page: str = "page", user: User = LOCAL_USER) -> dict[Any, Any]:
    """The last value of every part of the panel, and under "error" what was raised."""
    shown: dict[Any, Any] = {}
    try:
        for updates in run_request(engine, panel, GenerationRequest(prompt=prompt), user, page):
            shown |= updates
    except gr.Error as error:
        shown["error"] = error
    return shown


def break_next(backend: FakeBackend) -> None:
    backend.fail = lambda request, step: ModelBroken("It broke.", hint="Mend it.")


def test_a_failed_job_says_why_above_the_images_before_it(
    engine: Engine, panel: JobPanel, backend: FakeBackend
) -> None:
    first = run(engine, panel, "a pear")
    break_next(backend)
    second = run(engine, panel, "an apple")
    assert "error" in second
    assert "It broke." in second[panel.result]
    assert "Generated image: a pear" in second[panel.result]
    assert second[panel.actions] == gr.update(visible=True)
    assert second[panel.job] == first[panel.job], "a reload shows the images again"


def test_images_of_another_page_or_user_are_not_put_there(
    engine: Engine, panel: JobPanel, backend: FakeBackend
) -> None:
    run(engine, panel, "a pear")
    break_next(backend)
    assert "a pear" not in run(engine, panel, "an apple", page="other")[panel.result]
    assert "a pear" not in run(engine, panel, "an apple", user=User("ann"))[panel.result]


def test_a_page_that_was_opened_again_keeps_its_images_too(
    engine: Engine, panel: JobPanel, backend: FakeBackend
) -> None:
    job_id = run(engine, panel, "a pear")[panel.job]
    list(reattach_job(engine, panel, job_id, LOCAL_USER, "reloaded"))
    break_next(backend)
    assert "a pear" in run(engine, panel, "an apple", page="reloaded")[panel.result]


def test_the_pages_are_remembered_in_bounded_memory(engine: Engine) -> None:
    last = LastImages(capacity=2)
    job = engine.submit(GenerationRequest(prompt="x"), LOCAL_USER)
    for page in ("a", "b", "c"):
        last.remember(page, job.id)
    assert [last.find(page, engine, LOCAL_USER) is not None for page in ("a", "b", "c")] == [False, True, True]


def test_the_images_before_stay_until_the_next_one_forms(engine: Engine, panel: JobPanel, backend: FakeBackend) -> None:
    run(engine, panel, "a pear")
    backend.held = True
    updates = run_request(engine, panel, GenerationRequest(prompt="an apple"), LOCAL_USER, "page")
    waiting = next(updates)[panel.result]
    assert "Generated image: a pear" in waiting
    assert 'data-status="finished"' not in waiting
    backend.release(100)
    shown = [each[panel.result] for each in updates]
    assert "Generated image: a pear" not in shown[-1]
    assert "Generated image: an apple" in shown[-1]


def test_the_seconds_of_waiting_are_counted_until_the_job_ends(
    engine: Engine, panel: JobPanel, backend: FakeBackend
) -> None:
    backend.held = True
    updates = run_request(engine, panel, GenerationRequest(prompt="an apple"), LOCAL_USER, "page")
    waiting = next(updates)[panel.result]
    backend.release(100)
    last = [each[panel.result] for each in updates][-1]
    assert re.search(r'class="elapsed"[^>]*>\d+ s<', waiting)
    assert "elapsed" not in last

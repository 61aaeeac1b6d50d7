"""The states of visits to the page: as Gradio's, and without work that nobody asked for."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from fastapi import FastAPI
from gradio.routes import App
from gradio.state_holder import SessionState
from page_studio import make_page_studio
from starlette.routing import Mount

from studio.page import mount
from studio.serving.page_cache import PageCacheMiddleware
from studio.serving.page_head import PageHeadMiddleware
from studio.serving.visit_states import VisitState, VisitStates


@pytest.fixture
def blocks() -> gr.Blocks:
    with gr.Blocks() as blocks:
        gr.Textbox(value="a pear")
        gr.Slider(0, 9, value=3)
        gr.State(["kept"])
    return blocks


def test_all_components_are_described_as_gradio_describes_them_when_they_are_asked_for(blocks: gr.Blocks) -> None:
    state = VisitState(blocks)
    assert state.config_values == {}
    assert list(state.components) == list(SessionState(blocks).components)


def test_a_value_that_an_event_has_changed_is_the_visits_own(blocks: gr.Blocks) -> None:
    text, *_ = blocks.blocks
    states = VisitStates()
    states.set_blocks(blocks)
    states["one"]._update_value_in_config(text, "a plum")
    values = [next(iter(states[name].components))["props"]["value"] for name in ("one", "another")]
    assert values == ["a plum", "a pear"]


def test_the_page_keeps_such_states(tmp_path: Path) -> None:
    studio, app = make_page_studio(tmp_path), FastAPI()
    mount(app, studio)
    [head] = [route.app for route in app.routes if isinstance(route, Mount)]
    assert isinstance(head, PageHeadMiddleware)
    assert isinstance(head.app, PageCacheMiddleware)
    page = head.app.app
    assert isinstance(page, App)
    assert isinstance(page.state_holder, VisitStates)
    assert isinstance(page.state_holder["a visit"], VisitState)
    studio.engine.close(drain=0)

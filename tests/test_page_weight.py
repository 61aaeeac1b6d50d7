"""What the browser is sent before it can do anything, in numbers: of components and bytes, not of seconds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import brotli
import gradio as gr
import pytest
from serving import RunningStudio, serve_studio
from social_studio import make_social_parts
from test_page import store

from studio.page import mount
from studio.tabs.common.deferred_tabs import DeferringBlocks

MOST_COMPONENTS = 450
MOST_FIRST_COMPONENTS = 100
MOST_BYTES = 120_000  # of the page, compressed
SETTINGS = "view-settings"  # the column of the first tab, which the page fetches by itself
PARTS = (SETTINGS, "Img2Img", "Extras", "Social Optimizer", "Prompts", "Library", "Compare", "Configurations", "Home")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("studio")
    social, _, backends = make_social_parts(folder)
    with serve_studio(
        folder, page=mount, backend=backends, social=social, models=store(folder / "models"), default_model="fake"
    ) as served:
        yield served


@pytest.fixture(scope="module")
def page(served: RunningStudio) -> dict[str, Any]:
    """What the page is told of itself."""
    return read_page(served.open_client().get("/").text)


def read_page(html: str) -> dict[str, Any]:
    found = re.search(r"window\.gradio_config = (\{.*?\});</script>", html, re.DOTALL)
    assert found
    return json.loads(found[1])


def find_event(page: dict[str, Any], title: str) -> int:
    """The number of the event that fetches the tab's content, or that of the column of settings."""
    if title == SETTINGS:
        columns = [each for each in page["components"] if SETTINGS in (each["props"].get("elem_classes") or ())]
        return next(each["id"] for each in page["dependencies"] if each["outputs"] == [columns[0]["id"]])
    tab = next(each["id"] for each in page["components"] if each["props"].get("label") == title)
    return next(each["id"] for each in page["dependencies"] if [tab, "select"] in each["targets"])


def run_event(served: RunningStudio, number: int, data: list[Any]) -> dict[str, Any]:
    body = {"data": data, "fn_index": number, "session_hash": "weighing"}
    answer = served.open_client().post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 200
    return answer.json()


def open_tab(served: RunningStudio, page: dict[str, Any], title: str) -> dict[str, Any]:
    """What the browser is sent when the tab is selected."""
    return run_event(served, find_event(page, title), [])["render_config"]


def collect_ids(node: dict[str, Any]) -> set[int]:
    return {node["id"]}.union(*map(collect_ids, node.get("children", ())))


def test_the_page_is_sent_in_few_components_and_few_bytes(served: RunningStudio, page: dict[str, Any]) -> None:
    client = served.open_client()
    with client.stream("GET", "/", headers={"Accept-Encoding": "br"}) as answer:
        sent = b"".join(answer.iter_raw())
    assert b"gradio_config" in brotli.decompress(sent)
    assert len(sent) <= MOST_BYTES
    assert len(page["components"]) <= MOST_COMPONENTS
    assert {each["id"] for each in page["components"]} >= collect_ids(page["layout"]) - {page["layout"]["id"]}


@pytest.mark.parametrize("title", PARTS)
def test_a_tab_comes_complete_when_it_is_opened(served: RunningStudio, page: dict[str, Any], title: str) -> None:
    content = open_tab(served, page, title)
    sent = {each["id"] for each in content["components"]}
    assert sent == collect_ids(content["layout"])
    assert not (sent - {content["layout"]["id"]}) & {each["id"] for each in page["components"]}
    known = sent | {each["id"] for each in page["components"]}
    asked = {number for event in content["dependencies"] for number in event["inputs"]}
    assert asked <= known, "an event asks for what the page does not have"


def test_the_settings_are_one_below_the_other(page: dict[str, Any]) -> None:
    columns = [each for each in page["components"] if SETTINGS in (each["props"].get("elem_classes") or ())]
    assert [each["type"] for each in columns] == ["column"]


def test_one_can_type_before_the_settings_come(page: dict[str, Any]) -> None:
    kinds = {each["type"] for each in page["components"]}
    assert "textbox" in kinds
    assert not kinds & {"dropdown", "slider", "number", "accordion"}
    assert len(page["components"]) <= MOST_FIRST_COMPONENTS


def test_what_the_browser_remembers_is_reported_after_the_settings_have_come(
    served: RunningStudio, page: dict[str, Any]
) -> None:
    assert "mark_used" not in {event["api_name"] for event in page["dependencies"]}
    later = open_tab(served, page, SETTINGS)
    [event] = [event for event in later["dependencies"] if event["api_name"] == "mark_used"]
    assert set(event["inputs"]) <= {each["id"] for each in page["components"]}, "these are there by then"


def test_an_event_that_starts_at_a_component_comes_with_all_others_that_do(
    served: RunningStudio, page: dict[str, Any]
) -> None:
    """Gradio's page forgets the events of a component when it is sent others for it."""
    starts: dict[tuple[int, str], set[str]] = {}
    for title, part in (("", page), *((title, open_tab(served, page, title)) for title in PARTS)):
        for event in part["dependencies"]:
            for number, name in event["targets"]:
                if number is not None and name not in ("load", "select"):  # told apart otherwise, or to be forgotten
                    starts.setdefault((number, name), set()).add(title)
    assert {start: titles for start, titles in starts.items() if len(titles) > 1} == {}


def test_a_tab_comes_although_another_one_has_changed_it_before(served: RunningStudio, page: dict[str, Any]) -> None:
    """Configurations, for one, is filled by an event of its own, which an unlocked service runs again."""
    content = open_tab(served, page, "Configurations")
    load = next(each for each in content["dependencies"] if each["backend_fn"] and each["targets"][0][1] == "load")
    run_event(served, load["id"], [])
    assert open_tab(served, page, "Configurations") == content


def test_every_event_is_sent_once(served: RunningStudio, page: dict[str, Any]) -> None:
    config = served.open_client().get("/config").json()
    parts = [page, *(open_tab(served, page, title) for title in PARTS)]
    numbers = [event["id"] for part in parts for event in part["dependencies"]]
    assert sorted(numbers) == sorted(event["id"] for event in config["dependencies"])


def test_an_event_never_waits_for_one_in_another_part(served: RunningStudio, page: dict[str, Any]) -> None:
    """Gradio's page joins an event to the one it follows only where both come at once."""
    for part in (page, *(open_tab(served, page, title) for title in PARTS)):
        here = {event["id"] for event in part["dependencies"]}
        assert {event["trigger_after"] for event in part["dependencies"]} - {None} <= here


def test_other_programs_see_everything_without_a_tab_open(served: RunningStudio, page: dict[str, Any]) -> None:
    config = served.open_client().get("/config").json()
    assert len(config["components"]) > 2 * len(page["components"])
    public = [event for event in config["dependencies"] if event["api_visibility"] == "public"]
    described = {each["id"] for each in config["components"] if "api_info" in each or each["skip_api"]}
    assert all({*event["inputs"], *event["outputs"]} <= described for event in public)


def make_small_page() -> tuple[DeferringBlocks, gr.Number, gr.Slider]:
    with DeferringBlocks() as blocks, gr.Tabs():
        with gr.Tab("First"):
            gr.Button("Press")
        with gr.Tab("Second") as second, blocks.defer_content(second):
            read, written = gr.Number(), gr.Slider(value=3)
            read.change(lambda number: number, read, written)
    return blocks, read, written


def test_what_an_event_reads_can_be_changed_and_what_it_writes_cannot() -> None:
    blocks, read, written = make_small_page()
    content = blocks.describe_content(blocks._contents[0])
    props = {each["id"]: each["props"] for each in content["components"]}
    assert (props[read._id]["interactive"], props[written._id]["interactive"]) == (True, False)

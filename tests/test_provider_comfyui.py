"""ComfyUI over its real protocol: graphs, progress, broken lines, errors, Stop."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import comfy_server
import pytest
from comfy_server import ComfyServer, run_comfy_server
from PIL import Image
from providers import SENTINEL, FakeContext, FakeKeys, expect_error, render_images

from studio.core.errors import InvalidRequest, JobCancelled, NotConfigured, ProviderError, Unreachable
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.task import Task
from studio.providers.comfyui import PROVIDER
from studio.providers.common import comfyui_connection
from studio.providers.common.comfyui_graphs import build_checkpoint_graph, fill_graph
from studio.providers.common.service_backend import Service


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks at the server, and of the server until its history is written."""
    monkeypatch.setattr(comfyui_connection, "_CHECK_INTERVAL", 0.5)
    monkeypatch.setattr(comfyui_connection, "_RECEIVE_TIMEOUT", 0.1)
    monkeypatch.setattr(comfy_server, "HISTORY_DELAY", 0.1)


@pytest.fixture
def running() -> Iterator[tuple[ComfyServer, Service]]:
    with run_comfy_server() as (server, url):
        yield server, Service(PROVIDER, FakeKeys(""), lambda: url)


def node(graph: dict[str, dict[str, object]], kind: str) -> dict[str, object]:
    return next(found["inputs"] for found in graph.values() if found["class_type"] == kind)


def test_text_to_image_with_progress(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    context = FakeContext()
    drawn = render_images(
        service,
        context,
        seeds=2,
        model="comfyui/checkpoint",
        negative_prompt="fog",
        width=640,
        height=512,
        steps=12,
        guidance=5.0,
        sampler="DPM++ 2M",
        schedule="Karras",
    )
    assert [one.seed for one in drawn] == [7, 8]
    assert drawn[0].image.size == (64, 64)
    assert context.steps == [(1, 4), (2, 4), (3, 4), (4, 4)] * 2
    graph = server.graphs[0]
    sampler = node(graph, "KSampler")
    assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (7, 12, 5.0)
    assert (sampler["sampler_name"], sampler["scheduler"]) == ("dpmpp_2m", "karras")
    assert node(graph, "CheckpointLoaderSimple")["ckpt_name"] == "foxes.safetensors"
    assert node(graph, "EmptyLatentImage")["width"] == 640
    texts = {found["inputs"]["text"] for found in graph.values() if found["class_type"] == "CLIPTextEncode"}
    assert texts == {"a red fox", "fog"}


def test_image_to_image_uploads_its_source(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    context = FakeContext(Image.new("RGB", (40, 30), "blue"))
    render_images(
        service, context, model="comfyui/checkpoint", task=Task.IMG2IMG, source="p0", strength=0.4, width=64, height=64
    )
    assert len(server.uploads) == 1
    assert node(server.graphs[0], "LoadImage")["image"] == server.uploads[0]
    assert node(server.graphs[0], "KSampler")["denoise"] == 0.4


def test_flux_from_its_parts(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    render_images(service, model="comfyui/flux", guidance=2.5)
    graph = server.graphs[0]
    assert node(graph, "UNETLoader")["unet_name"] == "flux1-dev.safetensors"
    assert (node(graph, "DualCLIPLoader")["clip_name1"], node(graph, "DualCLIPLoader")["clip_name2"]) == (
        "t5xxl.safetensors",
        "clip_l.safetensors",
    )
    assert (node(graph, "FluxGuidance")["guidance"], node(graph, "KSampler")["cfg"]) == (2.5, 1.0)


def test_ones_own_graph_is_filled_where_it_is_marked_and_stays_as_it_was(
    running: tuple[ComfyServer, Service], tmp_path: Path
) -> None:
    server, service = running
    own = build_checkpoint_graph(GenerationRequest(prompt="old"), "b.safetensors", 1)
    own["2"]["_meta"] = {"title": "easel:prompt"}
    own["4"]["_meta"] = {"title": "Easel:size"}
    own["5"]["_meta"] = {"title": "easel:seed"}
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(own))
    context = FakeContext()
    context.settings = Settings(comfyui_graph=path)
    render_images(service, context, model="comfyui/graph", width=256, height=128)
    graph = server.graphs[0]
    assert (node(graph, "KSampler")["seed"], node(graph, "EmptyLatentImage")["height"]) == (7, 128)
    assert graph["2"]["inputs"]["text"] == "a red fox"
    assert graph["3"]["inputs"]["text"] == ""
    assert json.loads(path.read_text()) == own
    before = json.dumps(own)
    fill_graph(own, GenerationRequest(prompt="new"), 5)
    assert json.dumps(own) == before


def test_a_graph_that_is_none_or_marks_nothing_is_refused(running: tuple[ComfyServer, Service], tmp_path: Path) -> None:
    _, service = running
    assert isinstance(expect_error(service, model="comfyui/graph"), NotConfigured)
    context = FakeContext()
    for text in ("no json", "[]", '{"nodes": []}', json.dumps(build_checkpoint_graph(GenerationRequest(), "a", 1))):
        (tmp_path / "graph.json").write_text(text)
        context.settings = Settings(comfyui_graph=tmp_path / "graph.json")
        assert isinstance(expect_error(service, context, model="comfyui/graph"), InvalidRequest)


def test_an_error_in_the_graph_is_told(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    server.plan = "error"
    error = expect_error(service, model="comfyui/checkpoint")
    assert isinstance(error, ProviderError)
    assert "out of foxes" in error.message
    assert "KSampler" in error.hint


def test_a_graph_that_it_refuses_names_the_node(running: tuple[ComfyServer, Service], tmp_path: Path) -> None:
    _, service = running
    path = tmp_path / "graph.json"
    path.write_text(
        json.dumps({"1": {"class_type": "Nonsense", "inputs": {"text": ""}, "_meta": {"title": "easel:prompt"}}})
    )
    context = FakeContext()
    context.settings = Settings(comfyui_graph=path)
    error = expect_error(service, context, model="comfyui/graph")
    assert isinstance(error, InvalidRequest)
    assert "Nonsense" in error.message


def test_a_broken_line_is_taken_up_again(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    server.plan = "drop"
    assert len(render_images(service, model="comfyui/checkpoint")) == 1
    assert len(server.graphs) == 1  # the graph was not queued a second time


def test_stop_interrupts_the_server(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    server.plan = "hang"
    error = expect_error(service, FakeContext(cancel_after=30), model="comfyui/checkpoint")
    assert isinstance(error, JobCancelled)
    assert server.interrupted == ["p1"]


def test_stop_goes_with_the_key() -> None:
    with run_comfy_server() as (server, url):
        server.key, server.plan = SENTINEL, "hang"
        service = Service(PROVIDER, FakeKeys(), lambda: url)
        assert isinstance(expect_error(service, FakeContext(cancel_after=30), model="comfyui/checkpoint"), JobCancelled)
        assert server.interrupted == ["p1"]
        wrong = Service(PROVIDER, FakeKeys("another-key-0123456789"), lambda: url)
        assert isinstance(expect_error(wrong, model="comfyui/checkpoint"), NotConfigured)


def test_stop_takes_a_waiting_graph_off_the_queue_and_leaves_the_running_one(
    running: tuple[ComfyServer, Service],
) -> None:
    server, service = running
    server.hold()
    error = expect_error(service, FakeContext(cancel_after=30), model="comfyui/checkpoint")
    assert isinstance(error, JobCancelled)
    assert (server.deleted, server.interrupted) == (["p1"], [])


def test_stop_while_the_graph_is_on_its_way_finds_it_and_interrupts_nobody_else(
    running: tuple[ComfyServer, Service],
) -> None:
    server, service = running
    server.hold()
    server.slow_upload = 2.0
    error = expect_error(service, StopWhileSending(server), model="comfyui/checkpoint")
    assert isinstance(error, JobCancelled)
    assert (server.deleted, server.interrupted) == (["p1"], [])


def test_stop_at_any_moment_leaves_no_graph_behind_and_interrupts_nobody_else(
    running: tuple[ComfyServer, Service],
) -> None:
    server, service = running
    server.hold()
    for looks in range(10):
        expect_error(service, FakeContext(cancel_after=looks), model="comfyui/checkpoint")
    assert (len(server.deleted), server.pending, server.interrupted) == (len(server.graphs), [], [])


class StopWhileSending(FakeContext):
    """Says that the user stopped the job once the server has the graph."""

    def __init__(self, server: ComfyServer) -> None:
        super().__init__()
        self._server = server

    def raise_if_cancelled(self) -> None:
        if self._server.graphs:
            raise JobCancelled("Stopped")


@pytest.mark.parametrize("plan", ["drop", "deaf"])
def test_an_end_that_was_missed_is_noticed_though_the_server_talks(
    running: tuple[ComfyServer, Service], plan: str
) -> None:
    server, service = running
    server.plan, server.chatty = plan, True
    assert len(render_images(service, model="comfyui/checkpoint")) == 1
    assert len(server.graphs) == 1


def test_a_graph_that_waits_behind_others_is_waited_for(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    server.hold()
    threading.Timer(0.8, server.running.clear).start()
    assert len(render_images(service, model="comfyui/checkpoint")) == 1


def test_a_server_that_was_restarted_is_said_so(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    server.plan = "restart"
    error = expect_error(service, model="comfyui/checkpoint")
    assert isinstance(error, Unreachable)
    assert "restarted" in error.message
    assert "billed" not in f"{error.message} {error.hint} {error.details}"


@pytest.mark.parametrize("status", [403, 502])
def test_a_refused_websocket_is_said_and_the_graph_followed_without(
    running: tuple[ComfyServer, Service], status: int
) -> None:
    server, service = running
    server.closed = status
    context = FakeContext()
    assert len(render_images(service, context, model="comfyui/checkpoint")) == 1
    assert context.notes == [f"ComfyUI does not open its WebSocket (HTTP {status}): its steps are not shown."]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("silent error", "out of foxes"),
        ("error", "out of foxes"),
        ("cached", "from its cache"),
        ("no image", "the graph gave gifs"),
    ],
)
def test_what_went_wrong_is_told_though_only_the_history_tells(
    running: tuple[ComfyServer, Service], plan: str, said: str
) -> None:
    server, service = running
    for closed in (0, 403):
        server.plan, server.closed = plan, closed
        assert said in expect_error(service, model="comfyui/checkpoint").message


def test_previews_are_taken_where_nothing_was_saved(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    server.plan = "previews"
    assert len(render_images(service, model="comfyui/checkpoint")) == 1


def test_choices_in_the_newer_form_are_read(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    server.new_form = True
    render_images(service, model="comfyui/checkpoint")
    assert node(server.graphs[0], "CheckpointLoaderSimple")["ckpt_name"] == "foxes.safetensors"
    render_images(service, model="comfyui/flux")


def test_a_transparent_source_arrives_without_its_hidden_colours(running: tuple[ComfyServer, Service]) -> None:
    server, service = running
    source = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    source.paste((200, 30, 30, 255), (16, 16, 48, 48))
    fields = {"task": Task.IMG2IMG, "source": "p0", "width": 64, "height": 64}
    render_images(service, FakeContext(source), model="comfyui/checkpoint", **fields)
    sent = Image.open(io.BytesIO(server.uploaded[0]))
    assert (sent.mode, sent.getpixel((2, 2)), sent.getpixel((32, 32))) == ("RGB", (255, 255, 255), (200, 30, 30))


def make_own_graph(*marks: str) -> dict[str, dict[str, object]]:
    """A graph for image to image, marked where `marks` say."""
    own = build_checkpoint_graph(GenerationRequest(prompt="old"), "b.safetensors", 1, "a.png")
    places = {"prompt": "2", "negative": "3", "size": "11", "seed": "5", "strength": "5", "image": "10"}
    for number in set(places.values()):
        titles = [f"easel:{mark}" for mark in marks if places[mark] == number]
        own[number]["_meta"] = {"title": " ".join(titles)}
    return own


def draw_own_graph(service: Service, tmp_path: Path, *marks: str) -> FakeContext:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(make_own_graph(*marks)))
    context = FakeContext(Image.new("RGB", (64, 64), "blue"))
    context.settings = Settings(comfyui_graph=path)
    fields = {"strength": 0.3, "negative_prompt": "fog", "width": 128, "height": 64}
    render_images(service, context, model="comfyui/graph", task=Task.IMG2IMG, source="p0", **fields)
    return context


def test_every_value_has_its_place_in_ones_own_graph(running: tuple[ComfyServer, Service], tmp_path: Path) -> None:
    server, service = running
    context = draw_own_graph(service, tmp_path, "prompt", "negative", "size", "seed", "strength", "image")
    assert context.notes == []
    graph = server.graphs[0]
    sampler = node(graph, "KSampler")
    assert (sampler["denoise"], sampler["seed"]) == (0.3, 7)
    assert (graph["3"]["inputs"]["text"], node(graph, "ImageScale")["width"]) == ("fog", 128)
    assert node(graph, "LoadImage")["image"] == server.uploads[0]


def test_a_value_without_a_place_is_told_and_a_source_without_one_refused(
    running: tuple[ComfyServer, Service], tmp_path: Path
) -> None:
    _, service = running
    context = draw_own_graph(service, tmp_path, "prompt", "image")
    told = " ".join(context.notes)
    assert len(context.notes) == 4
    assert all(f"easel:{mark}" in told for mark in ("negative", "size", "seed", "strength"))
    with pytest.raises(InvalidRequest, match="source image"):
        draw_own_graph(service, tmp_path, "prompt")


def test_its_check_counts_checkpoints_and_a_missing_server_is_said_so(running: tuple[ComfyServer, Service]) -> None:
    _, service = running
    assert "0.9.1 answers with 2 checkpoints" in service.check(FakeContext())
    gone = Service(PROVIDER, FakeKeys(""), lambda: "http://127.0.0.1:9")
    assert isinstance(expect_error(gone, model="comfyui/checkpoint"), Unreachable)
    unset = Service(PROVIDER, FakeKeys(""), lambda: "")
    assert all("COMFYUI_BASE_URL" in model.problem for model in unset.models())

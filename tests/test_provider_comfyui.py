"""ComfyUI over its real protocol: graphs, progress, broken lines, errors, Stop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_server import ComfyServer, run_comfy_server
from PIL import Image
from providers import FakeContext, FakeKeys, expect_error, render_images

from studio.core.errors import InvalidRequest, JobCancelled, NotConfigured, ProviderError, Unreachable
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.task import Task
from studio.providers.comfyui import PROVIDER
from studio.providers.common.comfyui_graphs import build_checkpoint_graph, fill_graph
from studio.providers.common.service_backend import Service


@pytest.fixture
def running() -> Iterator[tuple[ComfyServer, Service]]:
    with run_comfy_server() as (server, url):
        yield server, Service(PROVIDER, FakeKeys(""), lambda: url)


def node(graph: dict[str, dict[str, object]], kind: str) -> dict[str, object]:
    return next(found["inputs"] for found in graph.values() if found["class_type"] == kind)  # type: ignore[return-value]


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
    error = expect_error(service, FakeContext(cancel_after=40), model="comfyui/checkpoint")
    assert isinstance(error, JobCancelled)
    assert server.interrupted == ["p1"]


def test_its_check_counts_checkpoints_and_a_missing_server_is_said_so(running: tuple[ComfyServer, Service]) -> None:
    _, service = running
    assert "0.9.1 answers with 2 checkpoints" in service.check(FakeContext())
    gone = Service(PROVIDER, FakeKeys(""), lambda: "http://127.0.0.1:9")
    assert isinstance(expect_error(gone, model="comfyui/checkpoint"), Unreachable)
    unset = Service(PROVIDER, FakeKeys(""), lambda: "")
    assert all("COMFYUI_BASE_URL" in model.problem for model in unset.models())

"""What SillyTavern, open-webui and ComfyUI's own example scripts send to ComfyUI, and what they read of the answers."""

from __future__ import annotations

import copy
import io
import json
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from dialect_studio import make_backend, make_png, serve_dialects
from PIL import Image
from serving import RunningStudio, wait_until
from test_dialect_comfyui import GRAPH
from websockets.sync.client import connect

from studio.api.dialects.comfyui import executions
from studio.core.errors import ModelBroken
from studio.core.task import Task


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_dialects(tmp_path_factory.mktemp("comfyui"), preview_interval=0.1) as found:
        yield found


@pytest.fixture
def client(served: RunningStudio) -> httpx.Client:
    return served.open_client()


def draw_as_sillytavern(client: httpx.Client, graph: dict[str, Any]) -> dict[str, Any]:
    """The entry of the whole history; the graph is sent as text, as its fetch does."""
    headers = {"Content-Type": "text/plain;charset=UTF-8"}
    answer = client.post("/prompt", content=json.dumps({"prompt": graph}), headers=headers)
    assert answer.status_code == 200, answer.text
    name = answer.json()["prompt_id"]
    wait_until(lambda: name in client.get("/history").json())
    found: dict[str, Any] = client.get("/history").json()[name]
    return found


def test_sillytavern_fills_its_lists(client: httpx.Client) -> None:
    assert client.get("/system_stats").is_success
    nodes = client.get("/object_info").json()
    for node, name in (
        ("KSampler", "sampler_name"),
        ("KSampler", "scheduler"),
        ("CheckpointLoaderSimple", "ckpt_name"),
        ("UNETLoader", "unet_name"),
        ("VAELoader", "vae_name"),
    ):
        choices = nodes[node]["input"]["required"][name][0]
        assert all(isinstance(one, str) for one in choices), name
        assert isinstance(choices, list), name
    assert "UnetLoaderGGUF" not in nodes


def test_sillytavern_draws(client: httpx.Client) -> None:
    item = draw_as_sillytavern(client, GRAPH)
    assert item["status"]["status_str"] == "success"
    (output,) = item["outputs"].values()
    image = output["images"][0]
    query = f"?filename={image['filename']}&subfolder={image['subfolder']}&type={image['type']}"
    with Image.open(io.BytesIO(client.get(f"/view{query}").content)) as found:
        assert (found.format, found.size) == ("PNG", (64, 64))


def test_sillytavern_shows_what_failed(tmp_path: Path) -> None:
    backend = make_backend()
    backend.fail = lambda request, step: ModelBroken("The file is broken.", hint="Replace it.")
    with serve_dialects(tmp_path, backend=backend) as served:
        item = draw_as_sillytavern(served.open_client(), GRAPH)
    assert item["status"]["status_str"] == "error"
    (told,) = [message for kind, message in item["status"]["messages"] if kind == "execution_error"]
    assert told["node_type"] == "KSampler"
    assert told["exception_message"].startswith("The file is broken.")
    assert told["node_id"] == "5"
    assert told["exception_type"]


def draw_as_open_webui(served: RunningStudio, graph: dict[str, Any]) -> list[bytes]:
    """The files of all images; the socket is opened first and read until the graph has been left."""
    headers = {"User-Agent": "Mozilla/5.0", "Authorization": "Bearer"}
    client, name = served.open_client(headers=headers), str(uuid.uuid4())
    with connect(f"{served.url.replace('http', 'ws')}/ws?clientId={name}", additional_headers=headers) as socket:
        answer = client.post("/prompt", json={"prompt": graph, "client_id": name})
        assert answer.status_code == 200, answer.text
        prompt_id = answer.json()["prompt_id"]
        while True:
            message = socket.recv(20)
            told: dict[str, Any] = json.loads(message) if isinstance(message, str) else {"type": "preview"}
            if told["type"] == "executing" and told["data"]["node"] is None:
                assert told["data"]["prompt_id"] == prompt_id
                break
    history = client.get(f"/history/{prompt_id}").json()[prompt_id]
    places = [
        f"/view?{urllib.parse.urlencode({key: image[key] for key in ('filename', 'subfolder', 'type')})}"
        for node, output in history["outputs"].items()
        if graph[node]["class_type"] in ("SaveImage", "PreviewImage")
        for image in output["images"]
    ]
    answers = [client.get(place) for place in places]
    assert all(one.headers["content-type"].startswith("image/") for one in answers)
    return [one.content for one in answers]


@pytest.mark.parametrize("shown", ["SaveImage", "PreviewImage"])
def test_open_webui_draws_several_images(served: RunningStudio, shown: str) -> None:
    graph = copy.deepcopy(GRAPH)
    info = served.open_client().get("/object_info").json()
    key = next(key for key in info["CheckpointLoaderSimple"]["input"]["required"] if "_name" in key)
    graph["1"]["inputs"][key] = info["CheckpointLoaderSimple"]["input"]["required"][key][0][0]
    graph["2"]["inputs"]["text"] = "a green pear"
    graph["4"]["inputs"] |= {"width": 128, "height": 64, "batch_size": 2}
    graph["5"]["inputs"] |= {"seed": 1125899906842623, "steps": 3}
    graph["7"] = {"class_type": shown, "inputs": {"images": ["6", 0]}}
    if shown == "SaveImage":
        graph["7"]["inputs"]["filename_prefix"] = "open-webui"
    found = draw_as_open_webui(served, graph)
    assert len(found) == 2
    for data in found:
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (128, 64)
    assert served.backend.seen[-1][0].prompt == "a green pear"


def test_open_webui_edits_an_upload(served: RunningStudio) -> None:
    files = {"image": (f"{uuid.uuid4()}.png", make_png(), "image/png")}
    answer = served.open_client().post("/api/upload/image", data={"type": "input"}, files=files)
    assert answer.status_code == 200, answer.text
    graph = copy.deepcopy(GRAPH)
    graph["8"] = {"class_type": "LoadImage", "inputs": {"image": answer.json()["name"]}}
    graph["4"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["8", 0], "vae": ["1", 2]}}
    graph["5"]["inputs"]["denoise"] = 0.6
    assert len(draw_as_open_webui(served, graph)) == 1
    assert served.backend.seen[-1][0].task is Task.IMG2IMG


def test_the_basic_example_script_is_answered(served: RunningStudio, client: httpx.Client) -> None:
    """It sends JSON with urllib, which calls it a form."""
    sent = urllib.request.Request(f"{served.url}/prompt", data=json.dumps({"prompt": GRAPH}).encode())
    with urllib.request.urlopen(sent) as answer:
        told = json.loads(answer.read())
    assert set(told) == {"prompt_id", "number", "node_errors"}
    wait_until(lambda: client.get(f"/history/{told['prompt_id']}").json())


def test_the_example_script_for_images_over_the_socket_gets_them(served: RunningStudio) -> None:
    graph = copy.deepcopy(GRAPH)
    graph["4"]["inputs"]["batch_size"] = 2
    graph["last"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["6", 0]}}
    del graph["7"]
    found: list[bytes] = []
    client, name, node = served.open_client(), str(uuid.uuid4()), ""
    with connect(f"{served.url.replace('http', 'ws')}/ws?clientId={name}") as socket:
        prompt_id = client.post("/prompt", json={"prompt": graph, "client_id": name}).json()["prompt_id"]
        while node is not None:
            message = socket.recv(20)
            if isinstance(message, bytes):
                found += [message[8:]] if node == "last" else []
            elif (told := json.loads(message))["type"] == "executing":
                node = told["data"]["node"]
    for data in found:
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("PNG", (64, 64))
    assert len(found) == 2
    history = client.get(f"/history/{prompt_id}").json()[prompt_id]
    assert (history["status"]["status_str"], history["outputs"]) == ("success", {})


def test_files_for_a_client_that_does_not_read_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "FILE_SECONDS", 0.0)
    sockets = executions.Sockets()

    async def send() -> int:
        queue = sockets.open("ann", "x")
        for _ in range(2 * executions.MAX_WAITING_FILES):
            await sockets.send_file("ann", "x", b"file")
        assert queue is not None
        return queue.qsize()

    assert anyio.run(send) == executions.MAX_WAITING_FILES


def test_waiting_graphs_are_listed_and_taken_back(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, backend=make_backend(held=True)) as served:
        client = served.open_client()
        names = [client.post("/prompt", json={"prompt": GRAPH}).json()["prompt_id"] for _ in range(4)]
        assert served.backend.entered.acquire(timeout=20)
        wait_until(lambda: client.get("/queue").json()["queue_running"])
        queue = client.get("/queue").json()
        assert [entry[1] for entry in queue["queue_running"]] == names[:1]
        assert {entry[1] for entry in queue["queue_pending"]} == set(names[1:])
        assert client.post("/queue", json={"delete": [names[2], "none such"]}).status_code == 200
        wait_until(lambda: len(client.get("/queue").json()["queue_pending"]) == 2)
        assert client.post("/interrupt", json={"prompt_id": "none such"}).status_code == 200
        assert [entry[1] for entry in client.get("/queue").json()["queue_running"]] == names[:1]
        assert client.post("/queue", json={"clear": True}).status_code == 200
        wait_until(lambda: not client.get("/queue").json()["queue_pending"])
        served.backend.release(100)
        wait_until(lambda: client.get(f"/history/{names[0]}").json())
        assert client.get(f"/history/{names[0]}").json()[names[0]]["status"]["status_str"] == "success"


def test_the_history_has_a_length_and_entries_are_taken_out(client: httpx.Client) -> None:
    names = [client.post("/prompt", json={"prompt": GRAPH}).json()["prompt_id"] for _ in range(3)]
    wait_until(lambda: set(names) <= set(client.get("/history").json()))
    assert list(client.get("/history?max_items=1").json()) == names[-1:]
    assert client.post("/history", json={"delete": [names[0]]}).status_code == 200
    assert names[0] not in client.get("/history").json()
    entry = client.get(f"/history/{names[1]}").json()[names[1]]
    assert {"prompt", "outputs", "status", "meta"} <= set(entry)
    number, name, graph, extra, outputs = entry["prompt"]
    assert (isinstance(number, int), name, outputs) == (True, names[1], ["7"])
    assert graph == GRAPH
    assert isinstance(extra, dict)


@pytest.mark.parametrize(
    "path", "object_info system_stats queue prompt history embeddings extensions features models ws".split()
)
def test_every_route_is_below_api_too(client: httpx.Client, path: str) -> None:
    plain, below = client.get(f"/{path}"), client.get(f"/api/{path}")
    assert plain.status_code == below.status_code
    assert plain.is_success or path == "ws"

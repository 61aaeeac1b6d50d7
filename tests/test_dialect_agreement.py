"""One request through every API: the model is asked for the same, and the same pixels come out."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dialect_studio import serve_dialects
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from PIL import Image
from serving import RunningStudio, mount_small_page, run_apart, wait_until
from test_dialect_comfyui import GRAPH

from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.engine.settings_store import SettingsStore
from studio.serve import build_app, make_server, open_listener
from studio.wiring import build_studio

SIDE, STEPS, SEED, PROMPT = 64, 3, 77, "a red apple"


def load(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def draw_native(client: httpx.Client, model: str) -> Image.Image:
    body = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": SEED, "model": model}
    sent = {**body, "sampler": "Euler", "schedule": "Karras", "guidance_scale": 4.0}
    job = client.post("/api/image-studio/create?wait=true", json=sent).json()
    return load(client.get(job["images"][0]["url"]).content)


def draw_automatic1111(client: httpx.Client, model: str) -> Image.Image:
    body = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": SEED, "cfg_scale": 4.0}
    sent = {**body, "sampler_name": "Euler", "scheduler": "karras"}
    sent |= {"override_settings": {"sd_model_checkpoint": model}}
    answer = client.post("/sdapi/v1/txt2img", json=sent).json()
    return load(base64.b64decode(answer["images"][0]))


def draw_openai(client: httpx.Client, model: str) -> Image.Image:
    body = {"prompt": PROMPT, "size": f"{SIDE}x{SIDE}", "model": model, "steps": STEPS, "seed": SEED, "cfg_scale": 4.0}
    sent = {**body, "sampler": "Euler", "schedule": "Karras"}
    answer = client.post("/v1/images/generations", json=sent).json()
    return load(base64.b64decode(answer["data"][0]["b64_json"]))


def draw_comfyui(client: httpx.Client, model: str) -> Image.Image:
    graph: dict[str, Any] = json.loads(json.dumps(GRAPH))
    graph["1"]["inputs"]["ckpt_name"] = f"{model}.safetensors"
    graph["3"]["inputs"]["text"] = ""
    graph["5"]["inputs"] |= {"seed": SEED, "steps": STEPS, "cfg": 4.0}
    name = client.post("/prompt", json={"prompt": graph}).json()["prompt_id"]
    wait_until(lambda: client.get(f"/history/{name}").json(), 120)
    file = client.get(f"/history/{name}").json()[name]["outputs"]["7"]["images"][0]
    return load(client.get("/view", params=file).content)


def draw_mcp(client: httpx.Client, model: str) -> Image.Image:
    arguments = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": SEED, "model": model}
    arguments |= {"guidance_scale": 4.0, "sampler": "Euler"}

    async def work() -> Any:
        transport = streamable_http_client(str(client.base_url).rstrip("/") + "/mcp")
        async with Client(transport) as assistant:
            return await assistant.call_tool("generate_image", arguments)

    return load(client.get(run_apart(work).structured_content["images"][0]["url"]).content)


def test_every_api_asks_the_model_for_the_same(tmp_path: Path) -> None:
    with serve_dialects(tmp_path) as served:
        client = served.open_client()
        asked: list[GenerationRequest] = []
        for draw in (draw_native, draw_automatic1111, draw_openai, draw_comfyui):
            draw(client, "fake")
            asked.append(served.backend.seen[-1][0].replace(file=None))
        assert len({json.dumps(request.to_json(), sort_keys=True) for request in asked}) == 1
        draw_mcp(client, "fake")
        assert served.backend.seen[-1][0].replace(file=None, schedule="Karras") == asked[0]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """The whole studio with the model that ships."""
    folder = tmp_path_factory.mktemp("real")
    settings = Settings(outputs_dir=folder / "outputs", logs_dir=folder / "logs", device="cpu", previews=False)
    studio = build_studio(SettingsStore(settings))
    app = build_app(studio, lambda parent: mount_small_page(parent, studio), None)
    studio.engine.start()
    listener = open_listener("127.0.0.1", 0)
    server = make_server(app, studio)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    served = RunningStudio(f"http://127.0.0.1:{listener.getsockname()[1]}", app, studio, None)
    wait_until(lambda: server.started)
    yield served
    served.close()
    server.drain()
    thread.join(60)


@pytest.mark.torch
def test_one_seed_gives_the_same_pixels_through_every_api(real: RunningStudio) -> None:
    client = httpx.Client(base_url=real.url, timeout=120)
    # A network that OpenVINO takes over between two images changes their last bits.
    real.studio.settings.change({"accelerator": "none"})
    native = draw_native(client, "embedded")
    assert native.size == (SIDE, SIDE)
    assert len(native.getcolors(SIDE * SIDE) or []) > 100
    for draw in (draw_automatic1111, draw_openai, draw_comfyui):
        assert draw(client, "embedded").tobytes() == native.tobytes(), draw.__name__
    plain = client.post(
        "/api/image-studio/create?wait=true",
        json={
            "prompt": PROMPT,
            "width": SIDE,
            "height": SIDE,
            "steps": STEPS,
            "seed": SEED,
            "model": "embedded",
            "sampler": "Euler",
            "guidance_scale": 4.0,
        },
    ).json()
    expected = load(client.get(plain["images"][0]["url"]).content)
    assert draw_mcp(client, "embedded").tobytes() == expected.tobytes()

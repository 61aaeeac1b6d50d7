"""One request through every API: the model is asked for the same, and the same pixels come out."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from dialect_studio import DRAWING, encode, serve_dialects
from fakes import FakeBackend
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from PIL import Image
from serving import RunningStudio, wait_until
from test_dialect_comfyui import GRAPH
from whole_studio import serve_whole_studio

from studio.core.request_choices import NoiseSource
from studio.core.task import Task

SIDE, STEPS, SEED, PROMPT, STRENGTH = 64, 6, 77, "a red apple", 0.5


def load(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def make_source() -> bytes:
    """An image with something to see in it, of the size that is drawn."""
    out = io.BytesIO()
    Image.radial_gradient("L").resize((SIDE, SIDE)).convert("RGB").save(out, "PNG")
    return out.getvalue()


def draw_native(client: httpx.Client, model: str, source: bytes | None = None, noise: str = "CPU") -> Image.Image:
    sent: dict[str, Any] = {"prompt": PROMPT, "steps": STEPS, "seed": SEED, "model": model, "noise_source": noise}
    sent |= {"sampler": "Euler", "schedule": "Karras", "guidance_scale": 4.0, "width": SIDE, "height": SIDE}
    if source is not None:
        sent |= {"operation": "img2img", "image": encode(source), "strength": STRENGTH}
    route = "create" if source is None else "edit"
    job = client.post(f"/api/image-studio/{route}?wait=true", json=sent).json()
    return load(client.get(job["images"][0]["url"]).content)


def draw_automatic1111(client: httpx.Client, model: str, source: bytes | None = None) -> Image.Image:
    sent: dict[str, Any] = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": SEED}
    sent |= {"sampler_name": "Euler", "scheduler": "karras", "cfg_scale": 4.0}
    sent |= {"override_settings": {"sd_model_checkpoint": model}}
    if source is not None:
        sent |= {"init_images": [encode(source)], "denoising_strength": STRENGTH, "resize_mode": 1}
    answer = client.post(f"/sdapi/v1/{'txt2img' if source is None else 'img2img'}", json=sent).json()
    return load(base64.b64decode(answer["images"][0]))


def draw_openai(client: httpx.Client, model: str, source: bytes | None = None) -> Image.Image:
    sent: dict[str, Any] = {"prompt": PROMPT, "size": f"{SIDE}x{SIDE}", "model": model, "steps": STEPS, "seed": SEED}
    sent |= {"sampler": "Euler", "schedule": "Karras", "cfg_scale": 4.0}
    if source is None:
        answer = client.post("/v1/images/generations", json=sent).json()
    else:
        files = {"image": ("source.png", source, "image/png")}
        form = {name: str(value) for name, value in {**sent, "strength": STRENGTH}.items()}
        answer = client.post("/v1/images/edits", data=form, files=files).json()
    return load(base64.b64decode(answer["data"][0]["b64_json"]))


def draw_comfyui(client: httpx.Client, model: str, source: bytes | None = None) -> Image.Image:
    graph: dict[str, Any] = json.loads(json.dumps(GRAPH))
    graph["1"]["inputs"]["ckpt_name"] = f"{model}.safetensors"
    graph["3"]["inputs"]["text"] = ""
    graph["5"]["inputs"] |= {"seed": SEED, "steps": STEPS, "cfg": 4.0}
    if source is not None:
        kept = client.post("/upload/image", files={"image": ("source.png", source, "image/png")}).json()
        graph["8"] = {"class_type": "LoadImage", "inputs": {"image": kept["name"]}}
        graph["4"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["8", 0], "vae": ["1", 2]}}
        # A sampler of ComfyUI runs all of its steps, at the end of a schedule that is longer by the denoising strength.
        graph["5"]["inputs"] |= {"denoise": STRENGTH, "steps": round(STEPS * STRENGTH)}
    return run_graph(client, graph)


def run_graph(client: httpx.Client, graph: dict[str, Any]) -> Image.Image:
    name = client.post("/prompt", json={"prompt": graph}).json()["prompt_id"]
    wait_until(lambda: client.get(f"/history/{name}").json(), 120)
    file = client.get(f"/history/{name}").json()[name]["outputs"]["7"]["images"][0]
    return load(client.get("/view", params=file).content)


def draw_mcp(client: httpx.Client, model: str, source: bytes | None = None) -> Image.Image:
    arguments: dict[str, Any] = {"prompt": PROMPT, "steps": STEPS, "seed": SEED, "model": model}
    arguments |= {"guidance_scale": 4.0, "sampler": "Euler", "schedule": "Karras"}
    if source is None:
        arguments |= {"width": SIDE, "height": SIDE}
    else:
        arguments |= {"image": encode(source), "strength": STRENGTH}

    async def work() -> Any:
        transport = streamable_http_client(str(client.base_url).rstrip("/") + "/mcp")
        async with Client(transport) as assistant:
            return await assistant.call_tool("generate_image" if source is None else "edit_image", arguments)

    return load(client.get(anyio.run(work).structured_content["images"][0]["url"]).content)


DIALECTS = (draw_automatic1111, draw_openai, draw_comfyui, draw_mcp)


@pytest.mark.parametrize("source", [None, make_source()], ids=["from a prompt", "from an image"])
def test_every_api_asks_the_model_for_the_same(tmp_path: Path, source: bytes | None) -> None:
    drawing = dataclasses.replace(DRAWING, tasks=DRAWING.tasks - {Task.EDIT})  # as most checkpoints
    with serve_dialects(tmp_path, backend=FakeBackend(drawing)) as served:
        client = served.open_client()
        asked: list[dict[str, Any]] = []
        for draw in (draw_native, *DIALECTS):
            draw(client, "fake", source)
            asked.append(served.backend.seen[-1][0].replace(file=None).to_json())
        for draw, request in zip(DIALECTS, asked[1:], strict=True):
            noise = {"noise_source": NoiseSource.COMFYUI} if draw is draw_comfyui else {}  # a graph has its program's
            assert request == asked[0] | noise, draw.__name__


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_whole_studio(tmp_path_factory.mktemp("real"), previews=False) as served:
        yield served


@pytest.mark.torch
@pytest.mark.parametrize("source", [None, make_source()], ids=["from a prompt", "from an image"])
def test_one_seed_gives_the_same_pixels_through_every_api(real: RunningStudio, source: bytes | None) -> None:
    client = httpx.Client(base_url=real.url, timeout=120)
    # A network that OpenVINO takes over between two images changes their last bits.
    real.studio.settings.change({"accelerator": "none"})
    native = draw_native(client, "embedded", source)
    assert native.size == (SIDE, SIDE)
    assert len(native.getcolors(SIDE * SIDE) or []) > 100
    assert source is None or native.tobytes() != load(source).tobytes()
    for draw in DIALECTS:
        wanted = draw_native(client, "embedded", source, "ComfyUI") if draw is draw_comfyui else native
        assert draw(client, "embedded", source).tobytes() == wanted.tobytes(), draw.__name__


@pytest.mark.torch
def test_a_second_pass_draws_the_same_pixels_through_every_api(real: RunningStudio) -> None:
    client = httpx.Client(base_url=real.url, timeout=120)
    real.studio.settings.change({"accelerator": "none"})
    plain = {"prompt": PROMPT, "steps": STEPS, "seed": SEED, "width": SIDE, "height": SIDE}
    second = {"upscaler": "Latent (nearest-exact)", "scale": 2.0, "steps": STEPS, "denoising_strength": 0.6}
    sampling = {"sampler": "Euler", "schedule": "Karras", "guidance_scale": 4.0}
    sent = {**plain, **sampling, "model": "embedded", "hires": second}

    def draw(noise: str) -> Image.Image:
        job = client.post("/api/image-studio/create?wait=true", json=sent | {"noise_source": noise}).json()
        return load(client.get(job["images"][0]["url"]).content)

    native = draw("CPU")
    assert native.size == (2 * SIDE, 2 * SIDE)
    hires = {"enable_hr": True, "hr_scale": 2.0, "hr_upscaler": "Latent (nearest-exact)", "denoising_strength": 0.6}
    hires |= {"hr_second_pass_steps": STEPS, "sampler_name": "Euler", "scheduler": "karras", "cfg_scale": 4.0}
    answer = client.post("/sdapi/v1/txt2img", json={**plain, **hires}).json()
    assert load(base64.b64decode(answer["images"][0])).tobytes() == native.tobytes()
    graph: dict[str, Any] = json.loads(json.dumps(GRAPH))
    graph["1"]["inputs"]["ckpt_name"] = "embedded.safetensors"
    graph["3"]["inputs"]["text"] = ""
    graph["5"]["inputs"] |= {"seed": SEED, "steps": STEPS, "cfg": 4.0}
    larger = {"samples": ["5", 0], "upscale_method": "nearest-exact", "scale_by": 2.0}
    graph["8"] = {"class_type": "LatentUpscaleBy", "inputs": larger}
    graph["9"] = {"class_type": "KSampler", "inputs": graph["5"]["inputs"] | {"latent_image": ["8", 0], "denoise": 0.6}}
    graph["6"]["inputs"]["samples"] = ["9", 0]
    assert run_graph(client, graph).tobytes() == draw("ComfyUI").tobytes()

"""What the APIs of other programs take on top of the native one, per image, on the embedded model."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from benchmarks.report import Row
from benchmarks.startup import start_studio_process
from tools.dialect_checks import assistants
from tools.dialect_checks.session import Session

SIDE = 128  # px
STEPS = 1  # little drawing, so that what an API takes is not lost in it
ROUNDS = 11
WARM_UP_ROUNDS = 1
BAR = 15.0  # ms
DEADLINE = 300.0
CLIENT = "benchmark"
PROMPT = "a red apple"


def rows() -> list[Row]:
    """The median of what each API takes beyond the native call just before it, so that both see the same machine."""
    with (
        start_studio_process() as (url, _),
        httpx.Client(base_url=url, timeout=DEADLINE) as client,
        connect(url.replace("http", "ws", 1).rstrip("/") + f"/ws?clientId={CLIENT}") as socket,
    ):
        calls = dict(build_calls(client, socket))
        draw_native = calls.pop("native")
        native: list[float] = []
        beyond: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(ROUNDS + WARM_UP_ROUNDS):
            for name, call in calls.items():
                native.append(_measure_seconds(draw_native))
                beyond[name].append(_measure_seconds(call) - native[-1])
    usual = 1000 * statistics.median(native[WARM_UP_ROUNDS * len(calls) :])
    note = f"native {usual:.0f} ms, {SIDE} px, {STEPS} step, median of {ROUNDS} pairs"
    return [
        Row(
            f"{name} over the native API, per image",
            max(0.0, 1000 * statistics.median(found[WARM_UP_ROUNDS:])),
            BAR,
            "ms",
            note,
        )
        for name, found in beyond.items()
    ]


def _measure_seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def build_calls(client: httpx.Client, socket: ClientConnection) -> Mapping[str, Callable[[], Any]]:
    """One image through each API, read to its end."""
    size = {"width": SIDE, "height": SIDE, "steps": STEPS, "seed": 5}

    def post(path: str, body: Mapping[str, Any]) -> Any:
        answer = client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def draw_native() -> None:
        body = {"prompt": PROMPT, **size, "sampler": "Euler", "guidance_scale": 3.0}
        job = post("/api/image-studio/create?wait=true", body)["jobId"]
        client.get(f"/api/image-studio/jobs/{job}/result").raise_for_status()

    def draw_comfyui() -> None:
        name = post("/prompt", {"prompt": build_graph(), "client_id": CLIENT})["prompt_id"]
        while not _is_end(socket.recv(DEADLINE)):
            pass
        found = client.get(f"/history/{name}").json()
        client.get("/view", params=found[name]["outputs"]["7"]["images"][0]).raise_for_status()

    studio = Session(client, str(client.base_url).rstrip("/"), {})

    def draw_mcp() -> None:
        arguments = {"prompt": PROMPT, **size, "sampler": "Euler", "guidance_scale": 3.0}
        result = assistants.use_tool(studio, "generate_image", **arguments)
        client.get(result["structuredContent"]["images"][0]["url"]).raise_for_status()

    return {
        "native": draw_native,
        "AUTOMATIC1111": lambda: post("/sdapi/v1/txt2img", {"prompt": PROMPT, **size, "cfg_scale": 3.0}),
        "OpenAI": lambda: post(
            "/v1/images/generations",
            {"prompt": PROMPT, "size": f"{SIDE}x{SIDE}", "steps": STEPS, "seed": 5, "sampler": "Euler", "cfg_scale": 3},
        ),
        "MCP": draw_mcp,
        "ComfyUI": draw_comfyui,
        "short routes": lambda: post("/generate", {"prompt": PROMPT, **size, "sampler": "Euler", "cfgScale": 3.0}),
    }


def _is_end(message: str | bytes) -> bool:
    """Whether the socket tells that the graph has ended."""
    if isinstance(message, bytes):
        return False
    told = json.loads(message)
    return bool(told["type"] == "executing" and told["data"]["node"] is None)


def build_graph() -> dict[str, Any]:
    """One image as a graph of ComfyUI's."""
    sampling = {"seed": 5, "steps": STEPS, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "embedded.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": SIDE, "height": SIDE, "batch_size": 1}},
        "5": {"class_type": "KSampler", "inputs": {**sampling, **links}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "bench"}},
    }

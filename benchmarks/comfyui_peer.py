"""ComfyUI as a peer of benchmarks/real_size.py, over its own HTTP API.

Start one that finds the checkpoint (models/diffusers/sd15-random a link to the benchmark's folder), for example with
`python main.py --cpu --port 8188`, and set COMFYUI_URL=http://127.0.0.1:8188. Nothing of it is needed otherwise.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable
from typing import Any

_DEADLINE = 900.0  # seconds for one image


def find_peer(model: str) -> Callable[[int], float] | None:
    """A function that makes an image of `side` px and returns the seconds; None where no ComfyUI is named."""
    url = os.environ.get("COMFYUI_URL", "").rstrip("/")
    if not url:
        return None
    calls = 0

    def make_image(side: int) -> float:
        nonlocal calls
        calls += 1  # a graph that did not change is not run again
        begin = time.perf_counter()
        started = _ask(f"{url}/prompt", {"prompt": _build_graph(model, side, calls)})
        while started["prompt_id"] not in _ask(f"{url}/history/{started['prompt_id']}"):
            if time.perf_counter() - begin > _DEADLINE:
                raise RuntimeError("ComfyUI made no image")
            time.sleep(0.05)
        return time.perf_counter() - begin

    return make_image


def _ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _build_graph(model: str, side: int, seed: int) -> dict[str, Any]:
    from benchmarks.real_size import GUIDANCE, PROMPT, STEPS

    def encode(text: str) -> dict[str, Any]:
        return {"class_type": "CLIPTextEncode", "inputs": {"clip": ["model", 1], "text": text}}

    sampler = {
        "model": ["model", 0],
        "positive": ["prompt", 0],
        "negative": ["against", 0],
        "latent_image": ["latents", 0],
        "seed": seed,
        "steps": STEPS,
        "cfg": GUIDANCE,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    return {
        "model": {"class_type": "DiffusersLoader", "inputs": {"model_path": model}},
        "prompt": encode(PROMPT),
        "against": encode(""),
        "latents": {"class_type": "EmptyLatentImage", "inputs": {"width": side, "height": side, "batch_size": 1}},
        "sample": {"class_type": "KSampler", "inputs": sampler},
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["model", 2]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": "bench"}},
    }

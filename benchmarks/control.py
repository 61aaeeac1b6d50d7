"""ControlNet on the embedded model: our time over the bare diffusers ControlNet call, and the memory that it adds."""

from __future__ import annotations

import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from PIL import Image, ImageDraw

from benchmarks.overhead import REQUEST, build_base_settings, time_job
from benchmarks.report import Row
from studio.core.request import GenerationRequest
from studio.core.request_parts import ControlUnit
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.settings_store import SettingsStore
from studio.engine.studio import Studio
from studio.wiring import build_studio

ROUNDS = 9
NET = "embedded-edges"
SIDE = 128


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        studio = build_studio(SettingsStore(build_base_settings(Path(folder))))
        studio.engine.start()
        try:
            image = studio.engine.keep_image(_draw_control_map(), LOCAL_USER).hash
            steered = REQUEST.replace(control=(ControlUnit(model=NET, image=image),))
            return [_measure_memory(studio, steered), _measure_time(studio.engine, steered)]
        finally:
            studio.engine.close()


def _draw_control_map() -> Image.Image:
    """White outlines on black, as an edge detector draws them."""
    drawn = Image.new("RGB", (SIDE, SIDE))
    ImageDraw.Draw(drawn).ellipse((24, 24, 104, 104), outline="white")
    return drawn


def _measure_memory(studio: Studio, steered: GenerationRequest) -> Row:
    """Resident memory of the process after steered images, the network's own weights aside, against that after txt2img
    alone."""
    process = psutil.Process()
    for _ in range(3):
        time_job(studio.engine)
    before = process.memory_info().rss
    for _ in range(3):
        time_job(studio.engine, steered)
    weights = sum(one.bytes for one in studio.store.get_memory_report().resident if one.title == NET)
    added = ((process.memory_info().rss - weights) / before - 1) * 100
    note = f"{before / 2**20:.0f} MiB after txt2img, weights {weights / 2**20:.0f} MiB"
    return Row("memory added by ControlNet after txt2img, its weights aside", max(0.0, added), 3, " %", note)


def _measure_time(engine: Engine, steered: GenerationRequest) -> Row:
    bare = _build_bare_call()
    time_job(engine, steered)
    bare()
    pairs = [(bare(), time_job(engine, steered)) for _ in range(ROUNDS)]  # interleaved, so that a slow moment hits both
    theirs, ours = (statistics.median(values) for values in zip(*pairs, strict=True))
    note = f"bare {theirs:.2f} s, median of {ROUNDS}"
    return Row("our wall time / bare diffusers call, ControlNet", ours / theirs, 1.04, note=note)


def _build_bare_call() -> Callable[[], float]:
    """A function that draws the same image with diffusers' ControlNet pipeline and returns the seconds."""
    import torch

    diffusers: Any = importlib.import_module("diffusers")  # exports by name at run time
    net = diffusers.ControlNetModel.from_pretrained(
        f"models/controlnet/{NET}", use_safetensors=True, torch_dtype=torch.float32
    )
    pipe = diffusers.StableDiffusionControlNetPipeline.from_pretrained(
        "models/embedded", controlnet=net, use_safetensors=True, safety_checker=None, torch_dtype=torch.float32
    )
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    drawn = _draw_control_map()

    def call() -> float:
        begin = time.perf_counter()
        with torch.inference_mode():
            pipe(
                REQUEST.prompt,
                image=drawn,
                num_inference_steps=REQUEST.steps,
                guidance_scale=REQUEST.guidance,
                generator=torch.Generator("cpu").manual_seed(1),
            )
        return time.perf_counter() - begin

    return call

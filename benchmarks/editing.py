"""Work on images: our time over the bare diffusers call, and the memory that it adds to a checkpoint that draws
already."""

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
from studio.core.request_parts import Inpaint
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.settings_store import SettingsStore
from studio.wiring import build_studio

ROUNDS = 15
STRENGTH = 0.75
SIDE = 128


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        engine = build_studio(SettingsStore(build_base_settings(Path(folder)))).engine
        engine.start()
        try:
            return [_measure_memory(engine), *_measure_times(engine)]
        finally:
            engine.close()


def _make_source() -> Image.Image:
    return Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")


def _make_mask() -> Image.Image:
    mask = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(mask).ellipse((32, 32, 96, 96), fill=255)
    return mask


def _build_requests(engine: Engine) -> tuple[Any, Any]:
    """An img2img and an inpaint request."""
    source = engine.keep_image(_make_source(), LOCAL_USER).hash
    mask = engine.keep_image(_make_mask(), LOCAL_USER).hash
    edit = REQUEST.replace(task=Task.IMG2IMG, source=source, strength=STRENGTH)
    return edit, edit.replace(task=Task.INPAINT, mask=mask, inpaint=Inpaint(mask_blur=4))


def _measure_memory(engine: Engine) -> Row:
    """Resident memory of the process after img2img and inpaint, against that after txt2img alone."""
    process = psutil.Process()
    for _ in range(3):
        time_job(engine)
    before = process.memory_info().rss
    for _ in range(2):
        for request in _build_requests(engine):
            time_job(engine, request)
    added = (process.memory_info().rss / before - 1) * 100
    note = f"{before / 2**20:.0f} MiB after txt2img"
    return Row("memory added by img2img and inpaint after txt2img", max(0.0, added), 3, " %", note)


def _measure_times(engine: Engine) -> list[Row]:
    img2img, inpaint = _build_requests(engine)
    calls = {
        "img2img": (
            lambda: time_job(engine, img2img),
            _build_bare_call("StableDiffusionImg2ImgPipeline", image=_make_source()),
        ),
        "inpaint": (
            lambda: time_job(engine, inpaint),
            _build_bare_call(
                "StableDiffusionInpaintPipeline", image=_make_source(), mask_image=_make_mask(), width=SIDE, height=SIDE
            ),
        ),
    }
    return [_measure_ratio(name, ours, bare) for name, (ours, bare) in calls.items()]


def _measure_ratio(name: str, ours: Callable[[], float], bare: Callable[[], float]) -> Row:
    ours()
    bare()
    pairs = [(bare(), ours()) for _ in range(ROUNDS)]  # interleaved, so that a slow moment of the machine hits both
    before, after = (statistics.median(values) for values in zip(*pairs, strict=True))
    note = f"bare {before:.2f} s, median of {ROUNDS}"
    return Row(f"our wall time / bare diffusers call, {name}", after / before, 1.04, note=note)


def _build_bare_call(class_name: str, **inputs: Any) -> Callable[[], float]:
    """A function that does the same edit with diffusers alone and returns the seconds."""
    import torch

    diffusers: Any = importlib.import_module("diffusers")  # exports by name at run time
    pipe = getattr(diffusers, class_name).from_pretrained(
        "models/embedded", use_safetensors=True, safety_checker=None, torch_dtype=torch.float32
    )
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)

    def call() -> float:
        begin = time.perf_counter()
        with torch.inference_mode():
            pipe(
                REQUEST.prompt,
                num_inference_steps=REQUEST.steps,
                strength=STRENGTH,
                guidance_scale=REQUEST.guidance,
                generator=torch.Generator("cpu").manual_seed(1),
                **inputs,
            )
        return time.perf_counter() - begin

    return call

"""Our time over the bare diffusers call with the same networks run by OpenVINO, at the size of Stable Diffusion 1.5:
what the studio adds to an image that is accelerated, with and without previews.

    python -m benchmarks same_accelerator

The checkpoint and the first of the sides are those of real_size; EASEL_BENCH_TURNS is the number of rounds, 7 by
default.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.overhead import build_base_settings, compare, settle, take_turns, time_job, time_with
from benchmarks.real_size import GUIDANCE, MODEL, PROMPT, SIDES, STEPS, build_checkpoint, get_folder
from benchmarks.report import Row
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.engine.settings_store import SettingsStore
from studio.pipelines.local_backend import LocalPipelines
from studio.wiring import build_studio

ROUNDS = int(os.environ.get("EASEL_BENCH_TURNS", "7"))
REQUEST = GenerationRequest(
    model=MODEL, prompt=PROMPT, seed=1, steps=STEPS, sampler="Euler", guidance=GUIDANCE, width=SIDES[0], height=SIDES[0]
)


def rows() -> Iterator[Row]:
    folder = get_folder()
    build_checkpoint(folder / "models" / MODEL)
    with tempfile.TemporaryDirectory() as outputs:
        changes = {"models_dir": folder / "models", "default_model": MODEL, "accelerator": "openvino"}
        store = SettingsStore(build_base_settings(Path(outputs)).replace(**changes))
        studio = build_studio(store)
        engine = studio.engine
        engine.start()
        try:
            for _ in range(2):  # after them it is compiled and measured
                time_job(engine, REQUEST)
                settle()
            assert isinstance(studio.store, LocalPipelines)
            bare = _build_bare_call(studio.store, store.current)
            bare()
            taken = take_turns(
                {
                    "bare": bare,
                    "ours": lambda: time_job(engine, REQUEST),
                    "previews": lambda: time_with(engine, store, {"previews": True}, REQUEST),
                },
                ROUNDS,
            )
        finally:
            engine.close()
    name = f"SD 1.5 size, {SIDES[0]}², {STEPS} steps"
    yield compare(f"{name}, our wall time / bare call with the same networks", taken["ours"], taken["bare"], 1.02)
    yield compare("the same with previews", taken["previews"], taken["bare"], 1.04)


def _build_bare_call(store: LocalPipelines, settings: Settings) -> Callable[[], float]:
    """A function that makes the same image with diffusers' pipeline around the resident networks, as fast as they are
    in the studio, and returns the seconds."""
    import torch

    diffusers: Any = importlib.import_module("diffusers")  # exports by name at run time

    context: Any = SimpleNamespace(settings=settings, add_notice=print, raise_if_cancelled=lambda: None)
    resources = store.resources(context)
    held = resources.registry.get_resident(MODEL)
    pipe = diffusers.StableDiffusionPipeline(**held.pipe.components, requires_safety_checker=False)
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)

    def call() -> float:
        assert resources.accelerator is not None
        begin = time.perf_counter()
        with resources.accelerator.accelerate(held, pipe, context), torch.inference_mode():
            pipe(
                PROMPT,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                width=REQUEST.width,
                height=REQUEST.height,
                generator=torch.Generator("cpu").manual_seed(1),
            )
        return time.perf_counter() - begin

    return call

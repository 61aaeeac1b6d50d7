"""Our time over the bare diffusers call, on the embedded model: whole images, single steps, and everything around
them."""

from __future__ import annotations

import importlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.report import Row
from studio.core.events import Status
from studio.core.model import Model
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.settings_store import SettingsStore
from studio.library.database import Database
from studio.wiring import build_studio

STEPS = 20
ROUNDS = 9
DEADLINE = 300.0
REQUEST = GenerationRequest(model="embedded", prompt="a red apple", seed=1, steps=STEPS, sampler="DDIM", guidance=5.0)


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        store = SettingsStore(build_base_settings(Path(folder)))
        studio = build_studio(store)
        studio.engine.start()
        try:
            return _measure(studio.engine, store)
        finally:
            studio.engine.close()


def build_base_settings(folder: Path) -> Settings:
    """The user's defaults with an empty outputs folder, previews off, and networks run by torch as in the bare call."""
    changes = {"outputs_dir": folder, "logs_dir": folder / "logs", "previews": False, "accelerator": "none"}
    return SettingsStore().current.replace(**changes)


def time_job(engine: Engine, request: GenerationRequest = REQUEST) -> float:
    """One image through the front door; wall seconds from submit to the file being there."""
    begin = time.perf_counter()
    job = engine.submit(request, LOCAL_USER)
    give_up = time.monotonic() + DEADLINE
    while not job.snapshot.status.is_final and time.monotonic() < give_up:
        job.wait(job.snapshot.version, 1.0)
    if job.snapshot.status is not Status.FINISHED:
        raise RuntimeError(f"the image was not made: {job.snapshot.error}")
    return time.perf_counter() - begin


def build_bare_call() -> Callable[[int], float]:
    """A function that makes the same image with diffusers alone in `steps` steps and returns the seconds."""
    import torch

    diffusers: Any = importlib.import_module("diffusers")  # exports by name at run time

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        "models/embedded", use_safetensors=True, safety_checker=None, torch_dtype=torch.float32
    )
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)

    def call(steps: int) -> float:
        begin = time.perf_counter()
        with torch.inference_mode():
            pipe(
                REQUEST.prompt,
                num_inference_steps=steps,
                guidance_scale=5.0,
                generator=torch.Generator("cpu").manual_seed(1),
            )
        return time.perf_counter() - begin

    return call


def _measure(engine: Engine, store: SettingsStore) -> list[Row]:
    bare = build_bare_call()
    more = REQUEST.replace(steps=2 * STEPS)
    for _ in range(2):
        time_job(engine)
        bare(STEPS)
    times: dict[str, list[float]] = {"bare": [], "ours": [], "previews": [], "bare long": [], "ours long": []}
    for _ in range(ROUNDS):  # interleaved, so that a slow moment of the machine hits all alike
        times["bare"].append(bare(STEPS))
        times["ours"].append(time_job(engine))
        times["bare long"].append(bare(2 * STEPS))
        times["ours long"].append(time_job(engine, more))
        store.change({"previews": True})
        times["previews"].append(time_job(engine))
        store.change({"previews": False})
    best = {name: statistics.median(values) for name, values in times.items()}
    step = ((best["ours long"] - best["ours"]) - (best["bare long"] - best["bare"])) / STEPS * 1000
    note = f"bare {best['bare']:.2f} s, median of {ROUNDS}"
    return [
        Row("our wall time / bare diffusers call, 20 steps", best["ours"] / best["bare"], 1.03, note=note),
        Row("the same with previews", best["previews"] / best["bare"], 1.08),
        Row("our work per step beyond the bare call", step, 0.5, " ms", "difference of 40 and 20 steps"),
        _measure_accelerated(engine, store, bare),
        _measure_overhead(),
    ]


def _measure_accelerated(engine: Engine, store: SettingsStore, bare: Callable[[int], float]) -> Row:
    """The same image with OpenVINO where that is faster, once it is compiled and measured."""
    store.change({"accelerator": "auto"})
    for _ in range(3):  # after them it is compiled, then compiled for this size, then compared
        time_job(engine)
        settle()
    times = [(bare(STEPS), time_job(engine)) for _ in range(ROUNDS)]
    store.change({"accelerator": "none"})
    theirs, ours = (statistics.median(values) for values in zip(*times, strict=True))
    return Row("the same with the accelerator", ours / theirs, 0.4, note=f"bare {theirs:.2f} s, ours {ours:.2f} s")


def settle() -> None:
    """Wait until this process does nothing in the background."""
    give_up = time.monotonic() + DEADLINE
    while _measure_cpu(lambda: time.sleep(2.0)) > 0.2 and time.monotonic() < give_up:
        pass


def _measure_overhead() -> Row:
    """CPU time from submit to the file being there, without the pipeline call and without the bare encode."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "library.db")
        engine = Engine(
            settings=SettingsStore(build_base_settings(Path(folder))), backends=[_StaticBackend()], database=database
        )
        engine.start()
        time_job(engine)
        ours = statistics.median(_measure_cpu(lambda: time_job(engine)) for _ in range(ROUNDS))
        encode = statistics.median(
            _measure_cpu(lambda: _StaticBackend.image.save(io.BytesIO(), "PNG", compress_level=1))
            for _ in range(ROUNDS)
        )
        engine.close()
    note = f"CPU {ours * 1000:.0f} ms, of it {encode * 1000:.0f} ms encoding 512×512"
    return Row("CPU around an image, submit to file", (ours - encode) * 1000, 60, " ms", note)


def _measure_cpu(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


class _StaticBackend:
    """A backend that has its image already, so that only the studio's own work is left."""

    image = Image.effect_noise((512, 512), 60).convert("RGB")

    def models(self) -> Sequence[Model]:
        return (Model(id="embedded", title="still", family="sd15", max_batch=1),)

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        for step in range(STEPS):
            ctx.report_progress(step + 1, STEPS)
        return [RenderedImage(image=self.image, seed=seed.seed) for seed in seeds]

    def close(self) -> None: ...

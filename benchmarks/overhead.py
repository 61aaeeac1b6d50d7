"""Our time over the bare diffusers call, on the embedded model: whole images, single steps, and everything around
them."""

from __future__ import annotations

import gc
import importlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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
ROUNDS = 15  # each of the five calls begins three of them
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
    return time_jobs(engine, [request])


def time_jobs(engine: Engine, requests: Sequence[GenerationRequest]) -> float:
    """Jobs that are submitted at once; wall seconds from submit to all files being there."""
    begin = time.perf_counter()
    jobs = [engine.submit(request, LOCAL_USER) for request in requests]
    give_up = time.monotonic() + DEADLINE
    for job in jobs:
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
    taken = take_turns(
        {
            "bare": lambda: bare(STEPS),
            "ours": lambda: time_job(engine),
            "previews": lambda: time_with(engine, store, {"previews": True}),
            "bare long": lambda: bare(2 * STEPS),
            "ours long": lambda: time_job(engine, more),
        },
        ROUNDS,
    )
    longer, shorter = (
        [ours - theirs for ours, theirs in zip(taken[f"ours{kind}"], taken[f"bare{kind}"], strict=True)]
        for kind in (" long", "")
    )
    steps = [(one - other) / STEPS * 1000 for one, other in zip(longer, shorter, strict=True)]
    return [
        compare("our wall time / bare diffusers call, 20 steps", taken["ours"], taken["bare"], 1.03),
        compare("the same with previews", taken["previews"], taken["bare"], 1.08),
        Row(
            "our work per step beyond the bare call",
            statistics.median(steps),
            0.5,
            " ms",
            f"difference of 40 and 20 steps, middle half {format_middle_half(steps)}",
        ),
        _measure_accelerated(engine, store, bare),
        _measure_overhead(),
    ]


def take_turns(calls: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each of `calls` returns in each round. They begin with another one each round, and each when what the one
    before left to be done is done, so that no call pays for its neighbour."""
    names = list(calls)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            rest()
            taken[name].append(calls[name]())
    return taken


def rest() -> None:
    """Wait, 10 s at most, until this process has nothing to do for a moment."""
    gc.collect()
    give_up = time.monotonic() + 10
    while _measure_cpu(lambda: time.sleep(0.1)) > 0.005 and time.monotonic() < give_up:
        pass


def compare(what: str, ours: Sequence[float], bare: Sequence[float], bar: float) -> Row:
    """The median of the ratios of each round, and how far its middle half reaches."""
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    note = f"bare {statistics.median(bare):.2f} s, {len(ratios)} rounds, middle half {format_middle_half(ratios)}"
    return Row(what, statistics.median(ratios), bar, note=note)


def format_middle_half(values: Sequence[float]) -> str:
    """The first and third quartile of two values or more."""
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.3g} to {high:.3g}"


def time_with(
    engine: Engine, store: SettingsStore, changes: dict[str, object], request: GenerationRequest = REQUEST
) -> float:
    """As time_job with other settings, which are as they were afterwards."""
    before = {name: getattr(store.current, name) for name in changes}
    store.change(changes)
    try:
        return time_job(engine, request)
    finally:
        store.change(before)


def _measure_accelerated(engine: Engine, store: SettingsStore, bare: Callable[[int], float]) -> Row:
    """The same image with OpenVINO where that is faster, once it is compiled and measured."""
    store.change({"accelerator": "auto"})
    for _ in range(3):  # after them it is compiled, then compiled for this size, then compared
        time_job(engine)
        settle()
    taken = take_turns({"bare": lambda: bare(STEPS), "ours": lambda: time_job(engine)}, ROUNDS)
    store.change({"accelerator": "none"})
    return compare("the same with the accelerator", taken["ours"], taken["bare"], 0.4)


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

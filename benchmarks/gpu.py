"""What each option for graphics cards gains, at the size of Stable Diffusion 1.5 and 512², and with the embedded model:
`make bench-gpu`.

EASEL_BENCH_TRANSFORMER names a transformer in the folder of the benchmark (see real_size.py), by which the step cache,
and all else that is for transformers, is measured too.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.overhead import build_base_settings, time_job, time_jobs
from benchmarks.real_size import MODEL, build_checkpoint, get_folder
from benchmarks.report import Row
from studio.core.request import GenerationRequest, Saving
from studio.engine.engine import Engine
from studio.engine.settings_store import SettingsStore
from studio.wiring import build_studio

ROUNDS = 7
STEPS = 20
BATCH = 4
OPTIONS = (
    {"accelerator": "compile"},
    {"accelerator": "graphs"},
    {"attention": "cudnn"},
    {"attention": "flash"},
    {"attention": "efficient"},
    {"accelerator": "compile", "attention": "cudnn"},
    {"fused_projections": True},
    {"accelerator": "compile", "fused_projections": True},
    {"channels_last": True},
    {"accelerator": "graphs", "channels_last": True},
    {"precision": "float8"},
)
FOR_SMALL = ({"accelerator": "compile"}, {"accelerator": "graphs"})
FOR_TRANSFORMERS = (*OPTIONS, {"step_cache": 0.1}, {"accelerator": "compile", "step_cache": 0.1})
PLAIN: Mapping[str, object] = {
    "accelerator": "none",
    "attention": "auto",
    "step_cache": 0.0,
    "fused_projections": False,
    "channels_last": False,
    "offload": "models",
    "batch_jobs": 1,
    "precision": "auto",
}


def rows() -> Iterator[Row]:
    """One row an option: its time over that of none, in turns. Nothing without a CUDA device."""
    import torch

    if not torch.cuda.is_available():
        print("No CUDA device: nothing was measured.", file=sys.stderr)
        return
    folder = get_folder()
    build_checkpoint(folder / "models" / MODEL)
    shutil.copytree("models/embedded", folder / "models" / "embedded", dirs_exist_ok=True)
    transformer = os.environ.get("EASEL_BENCH_TRANSFORMER", "")
    with tempfile.TemporaryDirectory() as outputs:
        settings = build_base_settings(Path(outputs)).replace(models_dir=folder / "models", default_model=MODEL)
        store = SettingsStore(settings)
        engine = build_studio(store).engine
        engine.start()
        measured = Measuring(engine, store)
        try:
            yield from measured.compare_options(build_request(MODEL), OPTIONS)
            yield from measured.compare_options(build_request("embedded", 128), FOR_SMALL)
            if transformer:
                yield from measured.compare_options(build_request(transformer), FOR_TRANSFORMERS)
            yield measured.compare_offloading(build_request(MODEL))
            yield measured.compare_joined_jobs(build_request(MODEL))
            yield measured.compare_prompts(build_request(transformer or MODEL))
        finally:
            engine.close()


def build_request(model: str, side: int = 512) -> GenerationRequest:
    return GenerationRequest(model=model, prompt="a red apple", seed=1, steps=STEPS, width=side, height=side)


class Measuring:
    """Compares jobs of one studio, in turns."""

    def __init__(self, engine: Engine, store: SettingsStore, rounds: int = ROUNDS) -> None:
        self._engine = engine
        self._store = store
        self._rounds = rounds

    def compare_options(self, request: GenerationRequest, options: Sequence[Mapping[str, object]]) -> Iterator[Row]:
        """The time of a job with each of `options` over that with none."""
        for option in options:
            name = ", ".join(f"{name} {value}" for name, value in option.items())
            yield self._compare(
                f"{request.model}: {name} / none",
                lambda option=option: self._measure(option, lambda: time_job(self._engine, request)),
                lambda: self._measure({}, lambda: time_job(self._engine, request)),
            )

    def compare_offloading(self, request: GenerationRequest) -> Row:
        """Single layers that wait in the computer's memory over whole models."""
        frugal = request.replace(saving=Saving.MEMORY)
        layers, models = (
            lambda by=by: self._measure({"offload": by}, lambda: time_job(self._engine, frugal))
            for by in ("layers", "models")
        )
        return self._compare(f"{request.model}: save memory, offload layers / models", layers, models)

    def compare_joined_jobs(self, request: GenerationRequest) -> Row:
        """Jobs that wait and differ only in their seed, generated together, over one by one."""
        jobs = [request.replace(seed=seed) for seed in range(BATCH)]
        together, alone = (
            lambda batch=batch: self._measure({"batch_jobs": batch}, lambda: time_jobs(self._engine, jobs))
            for batch in (BATCH, 1)
        )
        return self._compare(f"{request.model}: {BATCH} jobs, batch jobs {BATCH} / 1", together, alone)

    def compare_prompts(self, request: GenerationRequest) -> Row:
        """A prompt that was encoded before over a new one."""
        numbers = itertools.count()
        few = request.replace(steps=1)

        def measure_new() -> float:
            prompt = f"{request.prompt} {next(numbers)}"
            return self._measure({}, lambda: time_job(self._engine, few.replace(prompt=prompt)))

        def measure_known() -> float:
            return self._measure({}, lambda: time_job(self._engine, few))

        return self._compare(f"{request.model}: a prompt of before / a new one, 1 step", measure_known, measure_new)

    def _measure(self, option: Mapping[str, object], work: Callable[[], float]) -> float:
        self._store.change({**PLAIN, **option})
        return work()

    def _compare(self, name: str, ours: Callable[[], float], plain: Callable[[], float]) -> Row:
        for measure in (plain, ours):
            measure()  # what the first call compiles, records or chooses does not count
        taken = [(plain(), ours()) for _ in range(self._rounds)]
        without, used = (statistics.median(values) for values in zip(*taken, strict=True))
        return Row(name, used / without, 1.0, note=f"{without:.2f} s without, median of {self._rounds}")

"""Switching checkpoints, memory that comes back, and how soon a job stops."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.overhead import build_base_settings, time_job
from benchmarks.report import Row
from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.settings_store import SettingsStore
from studio.wiring import build_studio

SWITCHES = 50
MODELS = ("one", "two", "three")


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        for name in MODELS:
            shutil.copytree("models/embedded", models / name)
        return [_measure_switch(Path(folder)), _measure_memory(Path(folder)), _measure_stop(Path(folder))]


def _start_engine(folder: Path, budget_gb: float) -> Engine:
    settings = build_base_settings(folder / "outputs").replace(
        models_dir=folder / "models", memory_budget_gb=budget_gb, default_model=MODELS[0]
    )
    engine = build_studio(SettingsStore(settings)).engine
    engine.start()
    return engine


def _build_request(model: str, steps: int = 1) -> GenerationRequest:
    return GenerationRequest(model=model, prompt="a red apple", seed=1, steps=steps)


def _measure_switch(folder: Path) -> Row:
    """The extra time of an image when the last one came from another resident checkpoint."""
    engine = _start_engine(folder, budget_gb=8)
    for model in MODELS[:2] * 2:
        time_job(engine, _build_request(model))
    same = statistics.median([time_job(engine, _build_request("one")) for _ in range(15)])
    other = statistics.median([time_job(engine, _build_request(MODELS[n % 2])) for n in range(30)])
    engine.close()
    return Row("switch between two resident checkpoints", max(0.0, other - same) * 1000, 50, " ms")


def _measure_memory(folder: Path) -> Row:
    """Memory after many switches with one checkpoint resident at a time, against that after the third."""
    engine = _start_engine(folder, budget_gb=0.06)
    process = psutil.Process()
    after: list[int] = []
    for n in range(SWITCHES):
        time_job(engine, _build_request(MODELS[n % 3]))
        after.append(process.memory_info().rss)
    engine.close()
    growth = (after[-1] / after[2] - 1) * 100
    return Row(
        f"memory after {SWITCHES} switches, growth since the third", growth, 5, " %", f"{after[-1] / 2**20:.0f} MiB"
    )


def _measure_stop(folder: Path) -> Row:
    """Steps that are still done after Stop was pressed."""
    engine = _start_engine(folder, budget_gb=8)
    time_job(engine, _build_request("one"))
    late: list[int] = []
    for _ in range(5):
        job = engine.submit(_build_request("one", steps=200), LOCAL_USER)
        while job.snapshot.step < 3:
            job.wait(job.snapshot.version, 1.0)
        pressed = job.snapshot.step
        threading.Thread(target=engine.cancel, args=(job.id, LOCAL_USER)).start()
        begin = time.perf_counter()
        while not job.snapshot.status.is_final and time.perf_counter() - begin < 30:
            job.wait(job.snapshot.version, 1.0)
        assert job.snapshot.status is Status.CANCELLED
        late.append(job.snapshot.step - pressed)
    engine.close()
    return Row("Stop to Cancelled", max(late), 1, " steps", "the most of five tries")

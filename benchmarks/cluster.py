"""Drawing on other studios: the time that the way there adds to an image, and two machines against one."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.overhead import REQUEST, STEPS, build_base_settings, time_job
from benchmarks.report import Row
from studio.core.allocator import keep_freed_memory
from studio.core.model import CLUSTER_LANE
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.settings_store import SettingsStore
from studio.wiring import build_studio
from tools.cluster_demo import run_replica

ROUNDS = 7
JOBS = 8
OVERHEAD_MS, OVERHEAD_RATIO, GAIN = 40.0, 1.15, 1.6
_FLAGS = ("--no-warm-up", "--no-previews", "--accelerator", "none")


def rows() -> list[Row]:
    keep_freed_memory()  # as the machines do

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with run_replica(root / "a", *_FLAGS) as (_, one), run_replica(root / "b", *_FLAGS) as (_, two):
            here = open_front(root / "here", "")
            single, double = open_front(root / "single", one), open_front(root / "double", f"{one},{two}")
            try:
                return [*measure_overhead(here, single, "HTTP"), measure_gain(single, double, "HTTP")]
            finally:
                for engine in (here, single, double):
                    engine.close()


def open_front(folder: Path, cluster: str) -> Engine:
    """A studio without page that asks the machines at `cluster`, once all of them answer."""
    folder.mkdir()
    store = SettingsStore(build_base_settings(folder).replace(cluster=cluster))
    engine = build_studio(store).engine
    engine.start()
    end = time.monotonic() + 60
    wanted = CLUSTER_LANE if cluster else "gpu"
    while engine.model("embedded").lane != wanted and time.monotonic() < end:
        time.sleep(0.05)
    time_job(engine)
    return engine


def measure_overhead(here: Engine, there: Engine, way: str) -> list[Row]:
    """One image after the other, in turns here and there; `way` is the name of the transport."""
    own, other = list[float](), list[float]()
    for number in range(ROUNDS):
        pair = ((here, own), (there, other))
        for engine, times in pair if number % 2 == 0 else reversed(pair):
            times.append(time_job(engine, REQUEST.replace(seed=number)))
    added, ratio = (min(other) - min(own)) * 1000, min(other) / min(own)
    what, note = (
        f"image of {STEPS} steps on another studio of this machine, over {way}",
        f"fastest of {ROUNDS}, here {min(own):.2f} s",
    )
    return [
        Row(f"{what}, added", added, OVERHEAD_MS, " ms", note),
        Row(f"{what}, times here", ratio, OVERHEAD_RATIO, "×", note),
    ]


def measure_gain(single: Engine, double: Engine, way: str) -> Row:
    """JOBS jobs at once on one machine and on two, in turns."""
    shares = [time_jobs(double) / time_jobs(single) for _ in range(3)]
    share = statistics.median(shares)
    return Row(f"{JOBS} images on two studios over {way}, times on one", share, 1 / GAIN, "×", f"gain {1 / share:.2f}×")


def time_jobs(engine: Engine) -> float:
    """Seconds until JOBS jobs that are submitted together have ended."""
    begin = time.perf_counter()
    jobs = [engine.submit(REQUEST.replace(seed=n), LOCAL_USER) for n in range(JOBS)]
    for job in jobs:
        while not job.snapshot.status.is_final:
            job.wait(job.snapshot.version, 1.0)
    return time.perf_counter() - begin

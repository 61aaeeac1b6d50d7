"""Checkpoints of Stable Diffusion XL's and 3's size beside one of 1.5's, in turns under a memory limit that holds one
or two of them: what the process holds at most, and that nothing dies at the edge.

    python -m benchmarks large_models

They are made once, with random weights, in the folder that EASEL_BENCH_DIR names; EASEL_BENCH_CASES names the cases,
"load,small,one,two,edge,full" by
default. A studio that holds more than 18 GB is ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks.memory_watch import MemoryWatch, watch_memory
from benchmarks.random_checkpoints import build_sd3_folder, build_sdxl_file
from benchmarks.real_size import MODEL, ask_api, build_checkpoint, get_folder
from benchmarks.report import Row
from benchmarks.startup import start_studio_process

SDXL, SD3 = "sdxl-random", "sd3-random"
SIDE = 256  # px
BASE_GB = 1.2  # the process with torch and diffusers
WORK_GB = 0.6  # what two steps and the decoder work with at that size
GIB = 2**30


@dataclass(frozen=True)
class Studio:
    """A running studio under a memory limit."""

    url: str
    pid: int
    watch: MemoryWatch

    def draw(self, model: str) -> dict[str, Any]:
        """The job of one image in two steps, when it has ended."""
        body = {"model": model, "prompt": "a red apple", "seed": 1, "steps": 2, "guidance_scale": 1.0}
        try:
            return ask_api(self.url, "create?wait=true", body | {"width": SIDE, "height": SIDE})
        except urllib.error.HTTPError as error:  # the job failed: the answer says why
            return {"status": "failed", "error": json.load(error)["error"]}

    def measure_resident(self) -> tuple[int, float]:
        """The number of loaded models, and GiB of their weights."""
        with urllib.request.urlopen(f"{self.url}metrics", timeout=60) as answer:
            lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
        return int(float(lines["easel_resident_models"])), float(lines["easel_resident_bytes"]) / GIB


def rows() -> Iterator[Row]:
    models = get_folder() / "models"
    build_checkpoint(models / MODEL)
    build_sdxl_file(models / f"{SDXL}.safetensors")
    build_sd3_folder(models / SD3)
    cases = {"load": _load_alone, "small": _keep_small, "one": _hold_one, "two": _hold_two}
    cases |= {"edge": _pass_limit, "full": _fill_memory}
    for name in os.environ.get("EASEL_BENCH_CASES", ",".join(cases)).split(","):
        yield from cases[name]()


@contextlib.contextmanager
def _start_studio(budget_gb: float, precision: str) -> Iterator[Studio]:
    settings = {"memory_budget_gb": str(budget_gb), "precision": precision}
    settings |= {"accelerator": "none", "warm_up": "0", "metrics": "1"}
    models = get_folder() / "models"
    with (
        start_studio_process(None, models_dir=str(models), default_model=MODEL, **settings) as (url, pid),
        watch_memory(pid) as watch,
    ):
        yield Studio(url, pid, watch)


def _load_alone() -> Iterator[Row]:
    """What loading a single file takes at most, in 32 bits as on any CPU: it should be the weights once."""
    with _start_studio(14.5, "auto") as studio:
        job = studio.draw(SDXL)
        peak = studio.watch.take_peak() / GIB
        held = studio.measure_resident()[1]
        note = f"peak {peak:.1f} GiB, weights {held:.1f} GiB"
        extra = peak - held - BASE_GB - WORK_GB
        yield Row("SDXL's size in 32 bits: peak beyond weights, empty process and work", extra, 0.5, " GiB", note)
        yield _count_failures("images of SDXL's size in 32 bits that failed", [job])


def _keep_small() -> Iterator[Row]:
    """A limit below what a model weighs in 32 bits and above what it weighs with its denoiser in 16."""
    with _start_studio(10, "auto") as studio:
        job = studio.draw(SDXL)
        peak = studio.watch.take_peak() / GIB
        note = f"peak {peak:.1f} GiB, weights {studio.measure_resident()[1]:.1f} GiB, limit 10 GiB"
        yield Row("weights kept in 16 bits: peak beyond limit", peak - 10 - BASE_GB - WORK_GB, 0.1, " GiB", note)
        yield _count_failures("images from weights kept in 16 bits that failed", [job])


def _hold_one() -> Iterator[Row]:
    yield from _take_turns(7.5, (SDXL, SD3, SDXL), "one")


def _hold_two() -> Iterator[Row]:
    yield from _take_turns(9, (MODEL, SDXL, SD3, MODEL), "two")


def _take_turns(budget_gb: float, models: Sequence[str], what: str) -> Iterator[Row]:
    with _start_studio(budget_gb, "bfloat16") as studio:
        jobs, resident = [], 0
        for model in models:
            jobs.append(studio.draw(model))
            resident = max(resident, studio.measure_resident()[0])
        peak = studio.watch.take_peak() / GIB
        note = f"{len(models)} loads in turns, peak {peak:.1f} GiB, limit {budget_gb} GiB, at most {resident} held"
        name = f"a limit that holds {what}: peak beyond limit, empty process and work"
        yield Row(name, peak - budget_gb - BASE_GB - WORK_GB, 0.1, " GiB", note)
        yield _count_failures(f"images that failed with a limit that holds {what}", jobs)


def _pass_limit() -> Iterator[Row]:
    """A limit a little below what a model weighs: the job says so, and the next one is made."""
    with _start_studio(6, "bfloat16") as studio:
        refused = studio.draw(SDXL)
        peak = studio.watch.take_peak() / GIB
        after = studio.draw(MODEL)
        note = f"{refused.get('error') or refused['status']}; peak {peak:.1f} GiB"
        yield Row("a model beyond the limit that was not refused", float(refused["status"] != "failed"), 0, note=note)
        yield _count_failures("images after that which failed", [after])


def _fill_memory() -> Iterator[Row]:
    """The system refuses memory in the middle of a load: the job fails, and the next one is made."""
    with _start_studio(16, "bfloat16") as studio:
        first = studio.draw(MODEL)
        process = psutil.Process(studio.pid)
        most = studio.watch.read("VmData") + int(2.5 * GIB)
        process.rlimit(psutil.RLIMIT_DATA, (most, psutil.RLIM_INFINITY))
        refused = studio.draw(SDXL)
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        after = studio.draw(MODEL) if alive else {"status": "the studio is gone"}
        note = str(refused.get("error") or refused["status"])
        yield Row("a studio that died when memory ran out within a load", float(not alive), 0, note=note)
        yield _count_failures("images before and after that which failed", [first, after])


def _count_failures(what: str, jobs: Sequence[dict[str, Any]]) -> Row:
    failed = [job for job in jobs if job["status"] != "finished"]
    note = "; ".join(str(job.get("error") or job["status"]) for job in failed)
    return Row(what, len(failed), 0, note=note or f"{len(jobs)} made")

"""A checkpoint of Stable Diffusion 1.5's size, with random weights, in the studio and in diffusers as a user would call
it: two processes, in turns.

    python -m benchmarks real_size

The checkpoint (2 GB, 16-bit weights) is made once in the folder that EASEL_BENCH_DIR names, ~/.cache/easel-bench by
default. EASEL_BENCH_SIDES names the sides in px, "128,256" by default; EASEL_BENCH_ROUNDS the rounds. A ComfyUI with
the same checkpoint takes part where COMFYUI_URL names it: see benchmarks/comfyui_peer.py.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import comfyui_peer
from benchmarks.report import Row
from benchmarks.startup import start_studio_process

MODEL = "sd15-random"
STEPS = 8
GUIDANCE = 7.0
PROMPT = "a red apple on a table"
ROUNDS = int(os.environ.get("EASEL_BENCH_ROUNDS", "3"))
SIDES = tuple(int(side) for side in os.environ.get("EASEL_BENCH_SIDES", "128,256").split(","))
BARS = {128: 0.35, 256: 0.55}
WARM_UP_SECONDS = 600.0  # at most, until the studio stops working by itself
BATCH = 4
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Taken:
    """Wall and CPU seconds of one call."""

    wall: float
    cpu: float


def rows() -> Iterator[Row]:
    folder = get_folder()
    build_checkpoint(folder / "models" / MODEL)
    with start_bare(folder) as bare, start_ours(folder) as ours:
        for what, theirs, our in (("first step", bare.first_step, ours.first_step), ("image", bare.first, ours.first)):
            name = f"press to {what}, cold, warmed up / bare load and {what}"
            yield Row(name, our / theirs, 0.5, note=_note(theirs, our))
        for side in SIDES:
            settle_size(ours, side)
            yield from _compare(f"SD 1.5 size, {side}²", bare, ours, side, BARS.get(side, 0.55))
        yield from _compare(f"SD 1.5 size, {SIDES[0]}², batch of {BATCH}", bare, ours, SIDES[0], 1.0, batch=BATCH)
        held, mapped = ours.measure_memory()
        note = f"{held / 2**30:.1f} GiB, and {mapped / 2**30:.1f} GiB of files that it maps"
        yield Row("memory after that / bare", held / bare.measure_memory()[0], 2.2, note=note)
        peer = comfyui_peer.find_peer(MODEL)
        if peer is not None:
            side = SIDES[-1]
            peer(side)
            times = [(ours.call(side).wall, peer(side)) for _ in range(ROUNDS)]
            ratio = statistics.median(a for a, _ in times) / statistics.median(b for _, b in times)
            yield Row(f"SD 1.5 size, {side}², warm / ComfyUI", ratio, 0.4)


def settle_size(ours: Process, side: int) -> None:
    """Let the studio compile and measure what images of `side` px take."""
    ours.call(side)  # with torch, after which it is compiled
    ours.settle()
    ours.call(side)  # measured against torch


def _note(bare: float, ours: float) -> str:
    return f"bare {bare:.1f} s, ours {ours:.1f} s"


def _compare(name: str, bare: Process, ours: Process, side: int, bar: float, batch: int = 1) -> Iterator[Row]:
    """Wall and CPU time in turns, so that a slow moment of the machine hits both alike."""
    taken: dict[str, list[Taken]] = {"bare": [], "ours": []}
    bare.call(side, batch)
    ours.call(side, batch)
    for _ in range(ROUNDS):
        taken["bare"].append(bare.call(side, batch))
        taken["ours"].append(ours.call(side, batch))
    wall, cpu = (
        {who: statistics.median(getattr(one, clock) for one in all_taken) for who, all_taken in taken.items()}
        for clock in ("wall", "cpu")
    )
    note = f"{_note(wall['bare'], wall['ours'])}, median of {ROUNDS}"
    yield Row(f"{name}, {STEPS} steps, warm / bare, wall time", wall["ours"] / wall["bare"], bar, note=note)
    yield Row(f"{name}, CPU time", cpu["ours"] / cpu["bare"], bar, note=_note(cpu["bare"], cpu["ours"]))


@dataclass
class Process:
    """A process that makes images. `first` are the seconds of the first one, `first_step` those until its first step is
    done."""

    process: psutil.Process
    make_image: Callable[[int, int], None]
    first_step: float = 0.0
    first: float = 0.0

    def call(self, side: int, batch: int = 1) -> Taken:
        begin, cpu = time.perf_counter(), self._read_cpu_seconds()
        self.make_image(side, batch)
        return Taken(time.perf_counter() - begin, self._read_cpu_seconds() - cpu)

    def settle(self) -> None:
        """Wait until the process does nothing by itself, nor reads from the disk."""
        give_up = time.monotonic() + WARM_UP_SECONDS
        quiet = 0
        while quiet < 3 and time.monotonic() < give_up:
            before = self._read_cpu_seconds(), self.process.io_counters().read_bytes
            time.sleep(1.0)
            is_quiet = self._read_cpu_seconds() - before[0] < 0.1
            quiet = quiet + 1 if is_quiet and self.process.io_counters().read_bytes == before[1] else 0

    def measure_memory(self) -> tuple[int, int]:
        """Bytes that no file backs, and those of mapped files, which the system takes back when it needs them."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        held, mapped = (int(lines[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
        return held, mapped

    def _read_cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system


@contextlib.contextmanager
def start_ours(folder: Path) -> Iterator[Process]:
    with start_studio_process(models_dir=str(folder / "models"), default_model=MODEL) as (url, pid):
        ours = Process(psutil.Process(pid), lambda side, batch: create_image(url, MODEL, side, batch))
        ours.settle()
        ours.first_step, ours.first = _time_first_image(url)
        yield ours


def _time_first_image(url: str) -> tuple[float, float]:
    """Seconds from the request until the first step is done, and until the image is there."""
    begin = time.perf_counter()
    job = ask_api(url, "create", _build_body(MODEL, SIDES[0], 1, STEPS))
    first_step = 0.0
    while job.get("status") not in ("finished", "failed", "cancelled"):
        time.sleep(POLL_SECONDS)
        job = ask_api(url, f"jobs/{job['jobId']}")
        if not first_step and job["step"]:
            first_step = time.perf_counter() - begin
    _check_finished(job)
    return first_step, time.perf_counter() - begin


def create_image(url: str, model: str, side: int, batch: int = 1, steps: int = STEPS) -> None:
    """Let the studio at `url` make `batch` images of `side` px, and wait for them."""
    _check_finished(ask_api(url, "create?wait=true", _build_body(model, side, batch, steps)))


def _build_body(model: str, side: int, batch: int, steps: int) -> dict[str, Any]:
    body = {"model": model, "prompt": PROMPT, "seed": 1, "steps": steps, "sampler": "Euler", "guidance_scale": GUIDANCE}
    return body | {"width": side, "height": side, "count": batch, "batch_size": batch}


def ask_api(url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer of the native API, which is given `body` where there is one."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}api/image-studio/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def _check_finished(job: dict[str, Any]) -> None:
    if job.get("status") != "finished":
        raise RuntimeError(f"the image was not made: {job}")


@contextlib.contextmanager
def start_bare(folder: Path) -> Iterator[Process]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.real_size", str(folder / "models" / MODEL)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def expect(answer: str) -> None:
        assert process.stdout is not None
        if process.stdout.readline() != f"{answer}\n":
            raise RuntimeError("the bare call failed")

    def begin_image(side: int, batch: int) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{side} {batch}\n")
        process.stdin.flush()
        expect("first step")

    def make_image(side: int, batch: int) -> None:
        begin_image(side, batch)
        expect("done")

    try:
        begin = time.perf_counter()
        begin_image(SIDES[0], 1)
        first_step = time.perf_counter() - begin
        expect("done")
        yield Process(psutil.Process(process.pid), make_image, first_step, time.perf_counter() - begin)
    finally:
        process.kill()
        process.communicate()


def serve_bare_calls(model: str) -> None:
    """The other process: load the checkpoint as diffusers' documentation does, then an image for every line "side
    batch"."""
    import torch

    diffusers: Any = importlib.import_module("diffusers")  # exports by name at run time

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(model, safety_checker=None, torch_dtype=torch.float32)
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)

    def report_first(_pipe: Any, step: int, _timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        if step == 0:
            print("first step", flush=True)
        return given

    for line in sys.stdin:
        side, batch = map(int, line.split())
        pipe(
            [PROMPT] * batch,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            width=side,
            height=side,
            generator=[torch.Generator("cpu").manual_seed(1 + n) for n in range(batch)],
            callback_on_step_end=report_first,
        )
        print("done", flush=True)


def get_folder() -> Path:
    """The folder of the checkpoint and of what was compiled of it."""
    return Path(os.environ.get("EASEL_BENCH_DIR", "~/.cache/easel-bench")).expanduser()


def build_checkpoint(folder: Path) -> None:
    """Write a checkpoint in Stable Diffusion 1.5's layout with random 16-bit weights, once."""
    if (folder / "model_index.json").is_file():
        return
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    from studio.pipelines.families._parts import CONFIGS, load_clip_scheduler, load_clip_tokenizer

    diffusers: Any = importlib.import_module("diffusers")  # exports by name at run time

    config = CONFIGS / "sd15"
    torch.manual_seed(0)
    unet, vae = diffusers.UNet2DConditionModel, diffusers.AutoencoderKL
    pipe = diffusers.StableDiffusionPipeline(
        unet=unet.from_config(unet.load_config(config / "unet")),
        vae=vae.from_config(vae.load_config(config / "vae")),
        text_encoder=CLIPTextModel(CLIPTextConfig.from_pretrained(config / "text_encoder", local_files_only=True)),
        tokenizer=load_clip_tokenizer(),
        scheduler=load_clip_scheduler(config, "epsilon"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(folder)


if __name__ == "__main__":
    serve_bare_calls(sys.argv[1])

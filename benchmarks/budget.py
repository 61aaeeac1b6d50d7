"""Checkpoints of Stable Diffusion 1.5's size in turns where only one fits into the memory budget: none is lost to it,
and the process stays near it."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.memory_watch import watch_memory
from benchmarks.real_size import MODEL, build_checkpoint, create_image, get_folder
from benchmarks.report import Row
from benchmarks.startup import start_studio_process

BUDGET_GB = 5
SWITCHES = 4
_BASE_GB = 1.2  # the process with torch and diffusers, and what two steps at 128 px work with
_OTHER = f"{MODEL}-other"


def rows() -> list[Row]:
    """The most memory that the process held, beyond the budget; a job that fails raises."""
    folder = get_folder() / "models"
    build_checkpoint(folder / MODEL)
    _link_checkpoint(folder / MODEL, folder / _OTHER)
    settings = {"models_dir": str(folder), "default_model": MODEL, "memory_budget_gb": str(BUDGET_GB)}
    with start_studio_process(None, **settings) as (url, pid), watch_memory(pid) as watch:
        for number in range(SWITCHES):
            create_image(url, (MODEL, _OTHER)[number % 2], 128, steps=2)
        peak = watch.take_peak() / 2**30
    note = f"{SWITCHES} switches, peak {peak:.1f} GiB, budget {BUDGET_GB} GiB"
    return [
        Row("peak memory beyond budget and empty process", max(0.0, peak - BUDGET_GB - _BASE_GB), 0.1, " GiB", note)
    ]


def _link_checkpoint(source: Path, target: Path) -> None:
    """The same files as another model."""
    for file in source.rglob("*"):
        place = target / file.relative_to(source)
        if file.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, place)

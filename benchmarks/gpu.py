"""What each option for graphics cards gains, at the size of Stable Diffusion 1.5 and 512²: `make bench-gpu`."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.overhead import build_base_settings, time_job
from benchmarks.real_size import MODEL, build_checkpoint, get_folder
from benchmarks.report import Row
from studio.core.request import GenerationRequest
from studio.engine.settings_store import SettingsStore
from studio.wiring import build_studio

ROUNDS = 7
OPTIONS = (
    {"accelerator": "compile"},
    {"attention": "cudnn"},
    {"attention": "flash"},
    {"attention": "efficient"},
    {"accelerator": "compile", "attention": "cudnn"},
    {"fused_projections": True},
    {"accelerator": "compile", "fused_projections": True},
    {"precision": "float8"},
)
_PLAIN = {
    "accelerator": "none",
    "attention": "auto",
    "step_cache": 0.0,
    "fused_projections": False,
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
    with tempfile.TemporaryDirectory() as outputs:
        settings = build_base_settings(Path(outputs)).replace(models_dir=folder / "models", default_model=MODEL)
        store = SettingsStore(settings)
        engine = build_studio(store).engine
        engine.start()
        request = GenerationRequest(model=MODEL, prompt="a red apple", seed=1, steps=20, width=512, height=512)

        def measure(option: Mapping[str, object]) -> float:
            store.change({**_PLAIN, **option})
            return time_job(engine, request)

        try:
            for option in OPTIONS:
                for choice in ({}, option):
                    measure(choice)  # what the first call compiles or chooses does not count
                taken = [(measure({}), measure(option)) for _ in range(ROUNDS)]
                plain, ours = (statistics.median(values) for values in zip(*taken, strict=True))
                name = ", ".join(f"{name} {value}" for name, value in option.items())
                yield Row(f"{name} / none, 20 steps", ours / plain, 1.0, note=f"{plain:.2f} s without")
        finally:
            engine.close()

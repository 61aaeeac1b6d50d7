"""Whole images with networks run by OpenVINO against the same images with networks run by torch, pixel by pixel.

    python -m benchmarks same_images

EASEL_BENCH_DIR names the folder of the checkpoint with random weights, see benchmarks/real_size.py;
EASEL_BENCH_IMAGES is the number of images, 20 by default.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.overhead import DEADLINE, build_base_settings, settle
from benchmarks.real_size import MODEL, PROMPT, build_checkpoint, get_folder
from benchmarks.report import Row
from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.settings_store import SettingsStore
from studio.wiring import build_studio

IMAGES = int(os.environ.get("EASEL_BENCH_IMAGES", "20"))
THINGS = ("a red apple", "a blue fish", "a yellow star", "a green tree", "a house in the snow")


def rows() -> Iterator[Row]:
    build_checkpoint(get_folder() / "models" / MODEL)
    small = GenerationRequest(model="embedded", steps=20, sampler="DDIM", guidance=5.0, enlarge=True)
    yield from _compare("embedded model, 20 steps, enlarged", small, Path("models"))
    large = GenerationRequest(model=MODEL, steps=8, sampler="Euler", guidance=7.0, width=128, height=128)
    yield from _compare("SD 1.5 size, 128², 8 steps", large, get_folder() / "models")


def _compare(name: str, request: GenerationRequest, models: Path) -> Iterator[Row]:
    """The mean and the largest difference of IMAGES images of `request`, each with a prompt and seed of its own."""
    requests = [
        request.replace(prompt=THINGS[number % len(THINGS)] if request.enlarge else PROMPT, seed=number)
        for number in range(IMAGES)
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = SettingsStore(build_base_settings(Path(folder)).replace(models_dir=models, default_model=request.model))
        engine = build_studio(store).engine
        engine.start()
        try:
            begin = time.perf_counter()
            expected = [_make_image(engine, one) for one in requests]
            torch_seconds = time.perf_counter() - begin
            store.change({"accelerator": "openvino"})
            for _ in range(3):  # after them it is compiled, then compiled for this size, then compared
                _make_image(engine, requests[0])
                settle()
            begin = time.perf_counter()
            found = [_make_image(engine, one) for one in requests]
            seconds = time.perf_counter() - begin
        finally:
            engine.close()
    differences = [np.abs(one - other) for one, other in zip(expected, found, strict=True)]
    note = f"{IMAGES} images, {seconds:.1f} s; by torch {torch_seconds:.1f} s"
    yield Row(f"{name}: mean difference in levels", max(float(one.mean()) for one in differences), 1, note=note)
    yield Row(f"{name}: largest difference", max(int(one.max()) for one in differences), 4)


def _make_image(engine: Engine, request: GenerationRequest) -> np.ndarray:
    job = engine.submit(request, LOCAL_USER)
    give_up = time.monotonic() + DEADLINE
    while not job.snapshot.status.is_final and time.monotonic() < give_up:
        job.wait(job.snapshot.version, 1.0)
    if job.snapshot.status is not Status.FINISHED:
        raise RuntimeError(f"the image was not made: {job.snapshot.error}")
    with Image.open(job.snapshot.assets[0].path) as image:
        return np.asarray(image.convert("RGB"), dtype=int)

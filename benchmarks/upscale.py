"""Enlarging: tiles over the bare network, ours over RealESRGANer, and the memory that two megapixels take, each in a
process of its own.

Figures are the best of alternating rounds on the same machine; the network is realesr-animevideov3, which a CPU runs in
seconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.report import Row
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.catalog import bundled_upscaler
from studio.pipelines.upscale.realesrgan_engine import RealESRGANEngine
from studio.pipelines.upscale.spandrel_networks import read_state_dict
from studio.pipelines.upscale.upscale_image import Upscaler, enlarge_image, load_upscaler

FAST_MODEL = "realesr-animevideov3"
ROUNDS = 3
SMALL_SIZE = (640, 480)
TILE = 320
LARGE_SIZE = (1600, 1250)  # two megapixels
HEAVY_MODEL = "RealESRGAN_x4plus"


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        bundled_upscaler.unpack_upscalers(Path(folder))
        upscaler = load_upscaler(_build_weight_file(Path(folder), FAST_MODEL), "cpu")
        image = load_photo(SMALL_SIZE)
        return [
            _compare_bare(upscaler, image),
            *_compare_original(Path(folder), upscaler, image),
            *_measure_memory(folder),
        ]


def load_photo(size: tuple[int, int]) -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.astronaut()).resize(size, Image.Resampling.LANCZOS)


def _build_weight_file(folder: Path, name: str) -> WeightFile:
    path = folder / "upscalers" / f"{name}.safetensors"
    return WeightFile(name=name, kind=WeightKind.UPSCALER, path=path, bytes=path.stat().st_size)


def _compare_bare(upscaler: Upscaler, image: Image.Image) -> Row:
    import torch

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    size = (image.width * 4, image.height * 4)
    bare, tiled = time_alternately(
        lambda: upscaler(pixels), lambda: enlarge_image(image, size, upscaler, tiling=(TILE, None))
    )
    note = f"{image.width}×{image.height} px in tiles of {TILE}, image to image"
    return Row("tiled upscale over the bare network at once", tiled / bare, 1.15, "×", note)


def _compare_original(folder: Path, upscaler: Upscaler, image: Image.Image) -> list[Row]:
    """Against the makers' engine as they call it: `enhance` of an image, as each does it by itself, and with tiles of
    one size."""
    engine: Any = RealESRGANEngine(read_state_dict(_build_weight_file(folder, FAST_MODEL))).makers
    given, size = np.asarray(image)[..., ::-1].copy(), (image.width * 4, image.height * 4)
    made: list[Row] = []
    for tile, what in ((0, "each as it likes"), (TILE, f"both in tiles of {TILE} px")):
        engine.tile_size = tile
        kept: dict[str, Any] = {}

        def run_theirs(kept: dict[str, Any] = kept) -> None:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints a line for each tile
                kept["theirs"] = engine.enhance(given)[0][..., ::-1]

        def run_ours(kept: dict[str, Any] = kept, tile: int = tile) -> None:
            kept["ours"] = np.asarray(enlarge_image(image, size, upscaler, tiling=(tile or None, None)))

        their_time, our_time = time_alternately(run_theirs, run_ours)
        made.append(Row(f"over RealESRGANer, {what}", our_time / their_time, 1.0, "×"))
        if not tile:
            mean = np.abs(kept["theirs"].astype(int) - kept["ours"]).mean()
            made.append(Row("mean difference from RealESRGANer's image", float(mean), 1, "/255"))
    return made


def _measure_memory(folder: str) -> list[Row]:
    made: list[Row] = []
    for name, size, what in (
        (FAST_MODEL, LARGE_SIZE, "2 megapixels"),
        (HEAVY_MODEL, (400, 320), "tiles as large as for 2 megapixels"),
    ):
        finished = subprocess.run(
            [sys.executable, "-m", "benchmarks.upscale", folder, name, *map(str, size)],
            check=True,
            capture_output=True,
            text=True,
        )
        figures = json.loads(finished.stdout.splitlines()[-1])
        note = (
            f"{what}, tiles of {figures['tile']} px; the whole process, {figures['before']:.2f} GiB of it before the"
            " first tile"
        )
        made.append(Row(f"peak memory of 4×, {name}", figures["peak"], 2.5, " GiB", note))
    return made


def time_alternately(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """The least seconds of each, turn about, after one of each that is not counted: what else the machine does only
    adds."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS + 1):
        for work, taken in zip((first, second), times, strict=True):
            start = time.perf_counter()
            work()
            if number:
                taken.append(time.perf_counter() - start)
    return min(times[0]), min(times[1])


def _report_peak(folder: str, name: str, width: int, height: int) -> None:
    """In a process of its own: enlarge, and print the most memory that it held."""
    import psutil

    from studio.pipelines import device_memory
    from studio.pipelines.upscale import upscale_image

    upscaler = load_upscaler(_build_weight_file(Path(folder), name), "cpu")
    peaks: list[int] = []
    tile = upscale_image.choose_tile_size(upscaler)
    before = psutil.Process().memory_info().rss
    with device_memory.measure_peak("cpu", peaks.append):
        enlarge_image(load_photo((width, height)), (width * 4, height * 4), upscaler)
    print(json.dumps({"peak": peaks[0] / device_memory.GIB, "before": before / device_memory.GIB, "tile": tile}))


if __name__ == "__main__":
    _report_peak(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

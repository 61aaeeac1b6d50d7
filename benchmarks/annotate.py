"""Canny of a 12-megapixel image: what ours costs over the annotator's own call."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.report import Row
from studio.core.request_parts import ControlUnit
from studio.core.settings import Settings
from studio.engine.jobs.job_context import LaneContext
from studio.engine.plugins import discover
from studio.preprocessors.common.preprocessor_backend import PreprocessorBackend

SIZE = (4032, 3008)  # multiples of 64, so that the annotator's own call resizes nothing
TRIES = 9
_BLUR_SIZE = 8  # px: the blur that turns noise into something that has edges


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _measure_canny(Path(folder))


def _measure_canny(folder: Path) -> Iterator[Row]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of parts of itself that nobody asked for
        from controlnet_aux import CannyDetector
    image = _make_image()
    context = LaneContext(Settings(device="cpu"))
    backend = PreprocessorBackend(discover("studio.preprocessors", "PREPROCESSOR"), folder, lambda settings: "cpu")
    unit = ControlUnit(preprocessor="canny")
    detector = CannyDetector()
    side = min(SIZE)

    def annotate_original() -> Image.Image:
        return detector(image, detect_resolution=side, image_resolution=side)

    def annotate_ours() -> Image.Image:
        return backend.annotate(unit, image, side, context)

    def annotate_with_preview() -> Image.Image:
        drawn = annotate_ours()
        small = drawn.copy()
        small.thumbnail((Settings().preview_side, Settings().preview_side))
        small.save(folder / "preview.jpg")
        return drawn

    if annotate_original().tobytes() != annotate_ours().tobytes():
        raise AssertionError("the two maps differ")
    theirs, mine, with_preview = _time_calls(annotate_original, annotate_ours, annotate_with_preview)
    pixels = f"{SIZE[0] * SIZE[1] / 1e6:.0f} MP, own call {theirs * 1000:.0f} ms"
    yield Row("canny over the annotator's own call", mine / theirs, 1.5, "", pixels)
    yield Row("canny with its preview shown", with_preview / theirs, 1.5, "", pixels)


def _make_image() -> Image.Image:
    """Soft shapes with clear edges, the same ones every time."""
    import cv2

    noise = np.random.default_rng(0).random((SIZE[1] // _BLUR_SIZE, SIZE[0] // _BLUR_SIZE, 3), dtype=np.float32)
    soft = cv2.resize(cv2.GaussianBlur(noise, (0, 0), _BLUR_SIZE), SIZE, interpolation=cv2.INTER_CUBIC)
    return Image.fromarray(((soft > 0.5) * 200 + 20).astype(np.uint8))


def _time_calls(*calls: Callable[[], object]) -> list[float]:
    """The median seconds of each, taken in turns so that a busy machine slows all alike."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(TRIES):
        for call, seconds in zip(calls, taken, strict=True):
            begin = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - begin)
    return [statistics.median(seconds) for seconds in taken]

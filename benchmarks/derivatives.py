"""Four derivatives of a 12-megapixel photograph against Pillow's bare resize and encode of the same files.

The photograph is skimage's astronaut enlarged to 4000 × 3000 with fine grain laid over it, for no package holds a free
one of that size. Both sides begin with the same decoded pixels and end with the bytes of four files; each runs five
times in turn, the fastest counts. Ours carry recipe, infotext and marker, and average an image to three times its new
size before they filter it, which the bare side does not.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.report import Row
from studio.core.finish import Derivative, Finish, OutputOptions
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.task import Task
from studio.engine.metadata.embed import EmbeddedMetadata
from studio.engine.storage.image_encoding import encode_output
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts

_SIZES = ((2048, "jpeg", 90), (1600, "webp", 85), (1080, "png", 90), (800, "avif", 70))
_ROUNDS = 5


def rows() -> Iterator[Row]:
    """Ours over bare Pillow, and whether the sizes agree."""
    image = make_photograph()
    ours, bare = _time_fastest(lambda: _render_ours(image), lambda: _render_bare(image))
    yield Row(
        "12 megapixels to four derivatives over bare Pillow", ours / bare, 1.3, "×", f"{ours:.2f} s, bare {bare:.2f} s"
    )


def make_photograph() -> Image.Image:
    """A photograph of 4000 × 3000 px with grain."""
    import skimage.data

    large = np.asarray(
        Image.fromarray(skimage.data.astronaut()).resize((4000, 3000), Image.Resampling.BICUBIC), np.int16
    )
    grain = np.random.default_rng(1).normal(0, 6, (3000, 4000, 1)).astype(np.int16)
    return Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8))


def _render_ours(image: Image.Image) -> list[bytes]:
    finish = Finish(
        derivatives=tuple(
            Derivative(width=side, file=OutputOptions(format=kind, quality=quality)) for side, kind, quality in _SIZES
        )
    )
    request = GenerationRequest(task=Task.FINISH, source="photograph", finish=finish)
    context: Any = _Context(image)
    with tempfile.TemporaryDirectory() as folder:
        made = FinishingBackend(Fonts(Path(folder))).render(request, [ImageSeed(seed=1)], context)
    return [
        encode_output(
            one.image,
            one.file,
            Settings(),
            carried=EmbeddedMetadata(
                infotext="a photograph\nSteps: 4",
                recipe={"request": one.request.to_json()} if one.request else None,
                tool="Easel",
            ),
        ).data
        for one in made
    ]


def _render_bare(image: Image.Image) -> list[bytes]:
    """The same by Pillow alone: Lanczos from the whole image, each file as ours are set."""
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"subsampling": 0, "optimize": True, "progressive": True},
        "webp": {"method": 4},
        "png": {"compress_level": 1},
        "avif": {"speed": 8},
    }
    files: list[bytes] = []
    for side, kind, quality in _SIZES:
        out = io.BytesIO()
        small = image.resize((side, round(image.height * side / image.width)), Image.Resampling.LANCZOS)
        small.save(out, kind, quality=quality, **options[kind])
        files.append(out.getvalue())
    return files


def _time_fastest(*works: Callable[[], object]) -> list[float]:
    best = [float("inf")] * len(works)
    for _ in range(_ROUNDS):
        for number, work in enumerate(works):
            begin = time.perf_counter()
            work()
            best[number] = min(best[number], time.perf_counter() - begin)
    return best


class _Context:
    """As much of a JobContext as finishing asks for."""

    settings = Settings()

    def __init__(self, image: Image.Image) -> None:
        self._image = image

    def load_image(self, content_hash: str) -> Image.Image:
        return self._image.copy()

    def report_progress(self, step: int, steps: int, preview: object = None) -> None: ...

    def raise_if_cancelled(self) -> None: ...

    def add_notice(self, text: str) -> None: ...

    def phase(self, name: str) -> Any:
        import contextlib

        return contextlib.nullcontext()

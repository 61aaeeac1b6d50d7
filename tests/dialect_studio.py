"""A served studio whose fake models are named as the real ones, for the clients of other programs' APIs."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakes import FakeBackend
from PIL import Image
from serving import RunningStudio, serve_studio

from studio.core.annotate import OptionSpec
from studio.core.model import Model, Sampling, Sizes
from studio.core.settings import Settings
from studio.core.task import Task
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines

SCHEDULES = ("Automatic", "Karras", "Exponential", "Align Your Steps")
SIZES = Sizes(liked=((64, 64),), smallest=8)
DRAWING = Model(
    id="fake",
    title="Fake",
    family="fake",
    tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG, Task.INPAINT, Task.DETAIL, Task.EDIT, Task.OUTPAINT, Task.UPSCALE}),
    sampling=Sampling(combinations={"Euler": SCHEDULES, "DPM++ 2M": SCHEDULES}),
    sizes=SIZES,
)
OTHER = Model(id="other", title="Other", family="fake", sampling=DRAWING.sampling, sizes=SIZES)
PAID = Model(id="cloud/paid", title="Paid", family="cloud", lane="cloud", paid=True, sizes=SIZES)
TOOLS = (
    Model(id="upscaler/Lanczos", title="Lanczos", family="up", tasks=frozenset({Task.UPSCALE}), sizes=SIZES),
    Model(id="upscaler/RealESRGAN_x4plus", title="R", family="up", tasks=frozenset({Task.UPSCALE}), sizes=SIZES),
    Model(id="restorer/codeformer", title="C", family="faces", tasks=frozenset({Task.RESTORE_FACES}), sizes=SIZES),
    Model(id="finish", title="Finish", family="finish", tasks=frozenset({Task.FINISH}), sizes=SIZES),
    Model(id="preprocessor/inpaint", title="Inpaint", family="p", tasks=frozenset({Task.PREPROCESS}), sizes=SIZES),
    Model(
        id="preprocessor/canny",
        title="Canny edges",
        family="preprocessor",
        tasks=frozenset({Task.PREPROCESS}),
        sizes=SIZES,
        options=(
            OptionSpec(name="low", label="Low", low=1, high=255, default=100, step=1, help=""),
            OptionSpec(name="high", label="High", low=1, high=255, default=200, step=1, help=""),
        ),
    ),
)


def make_backend(**options: Any) -> FakeBackend:
    """Fakes for drawing, a paid one, and the tools."""
    return FakeBackend(DRAWING, OTHER, PAID, *TOOLS, **options)


def make_store(folder: Path) -> LocalPipelines:
    """The real ModelStore over a folder."""
    return LocalPipelines(
        lambda: Settings(models_dir=folder),
        Catalog(folder, [], folder / ".cache"),
        Hub(folder, lambda: True, lambda: None),
    )


@contextlib.contextmanager
def serve_dialects(folder: Path, **options: Any) -> Iterator[RunningStudio]:
    """A served studio with those models; `options` as `serve_studio` takes them."""
    filled = {
        "backend": make_backend(),
        "models": make_store(folder / "models"),
        "default_model": "fake",
        "queue_limit": 10_000,
        "queue_limit_per_user": 10_000,
        **options,
    }
    with serve_studio(folder, **filled) as served:
        yield served


def make_png(colour: str | tuple[int, ...] = "red", size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    """The bytes of a PNG of one colour."""
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


def encode(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()


def decode_image(text: str) -> Image.Image:
    """The image that base64 text holds."""
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def read_info(answer: dict[str, Any]) -> dict[str, Any]:
    """The facts in an answer of AUTOMATIC1111's."""
    found: dict[str, Any] = json.loads(answer["info"])
    return found

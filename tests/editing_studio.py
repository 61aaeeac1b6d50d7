"""Local pipelines over the real catalog, and images to work on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from studio.core.ports import Annotators
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.task import Task
from studio.engine.plugins import discover
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.local_backend import LocalPipelines
from tests.local_models import RecordingContext, make_seeds

SIDE = 64


class EditingStudio:
    """LocalPipelines on the CPU over the models below `root`. Requests name images by the keys of `images`."""

    def __init__(self, root: Path, images: Mapping[str, Image.Image], annotators: Annotators | None = None) -> None:
        self.settings = Settings(models_dir=root, device="cpu", previews=False, accelerator="none")
        self.catalog = Catalog(root, discover("studio.pipelines.families", "PIPELINE"), root / ".cache")
        self.backend = LocalPipelines(lambda: self.settings, self.catalog, None, annotators)  # type: ignore[arg-type]
        self.images = dict(images)
        self.ctx = RecordingContext(self.settings)

    def draw(self, model: str, task: Task, *numbers: int, **fields: object) -> list[Image.Image]:
        """An image for each seed of `numbers` (one of seed 1 by default), in few steps; `ctx` is new each time."""
        request = GenerationRequest(
            **{
                "model": model,
                "task": task,
                "prompt": "a red apple",
                "steps": 4,
                "width": SIDE,
                "height": SIDE,
                "source": None if task is Task.TXT2IMG else "source",
                **fields,
            }
        )  # type: ignore[arg-type]
        self.backend.models()
        self.ctx = RecordingContext(self.settings, images=self.images)
        rendered = self.backend.render(request, make_seeds(*(numbers or (1,))), self.ctx)
        assert [one.seed for one in rendered] == list(numbers or (1,))
        return [one.image for one in rendered]

    def draw_image(self, model: str, task: Task, seed: int = 1, **fields: object) -> Image.Image:
        return self.draw(model, task, seed, **fields)[0]


def make_scene(width: int = SIDE, height: int = SIDE, mode: str = "RGB") -> Image.Image:
    """A smooth image with some grain."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(255, 0, height))
    grain = np.random.default_rng(5).integers(0, 12, (height, width))
    pixels = np.stack([across, down, (across + down) / 2, np.full_like(across, 200)], axis=-1) + grain[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def make_spot_mask(width: int = SIDE, height: int = SIDE) -> Image.Image:
    """A mask of the middle."""
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).ellipse((width // 4, height // 4, 3 * width // 4, 3 * height // 4), fill=255)
    return mask


def compute_difference(one: Image.Image, other: Image.Image) -> np.ndarray:
    """Largest difference of any channel, by pixel."""
    return np.abs(np.asarray(one, dtype=int) - np.asarray(other.convert(one.mode), dtype=int)).max(axis=-1)

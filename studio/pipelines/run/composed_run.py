"""One image of several that are made by themselves, whichever way each of them is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from PIL import Image

from studio.core.ports import ImageSeed
from studio.pipelines.run.diffusion import Progress
from studio.pipelines.run.image_to_image import Editing
from studio.pipelines.run.text_to_image import Drawing

_STRIDE = 1_000_003  # between the seeds of the things of one image, far from those of the next images
_SEEDS = 2**64


class ComposedRun:
    """Planned work whose `draw` may be called again with fewer seeds."""

    is_sequential = False

    def __init__(
        self, things: Sequence[Drawing | Editing], join: Callable[[Sequence[Image.Image], int], Image.Image]
    ) -> None:
        """`join` makes one image of those of the `things` and of the seed."""
        self._things = things
        self._join = join

    @property
    def steps(self) -> int:
        """Steps of one `draw`."""
        return sum(thing.steps for thing in self._things)

    def draw(self, seeds: tuple[ImageSeed, ...], progress: Progress) -> list[Image.Image]:
        """An image per seed, in order."""
        drawn: list[list[Image.Image]] = []
        for number, thing in enumerate(self._things):
            begun = progress.before
            drawn.append(thing.draw(tuple(_shift_seed(seed, number) for seed in seeds), progress))
            progress.before = begun + thing.steps
        return [self._join(images, seed.seed) for images, seed in zip(zip(*drawn, strict=True), seeds, strict=True)]


def _shift_seed(seed: ImageSeed, number: int) -> ImageSeed:
    """The seeds of thing `number` of the image with `seed`; the first one has the image's own."""
    variation = None if seed.variation is None else (seed.variation + number * _STRIDE) % _SEEDS
    return dataclasses.replace(seed, seed=(seed.seed + number * _STRIDE) % _SEEDS, variation=variation)

"""Images of several things from a model that knows one at a time: each thing is drawn by itself, at the size that the
model was trained at, and all are put together on one ground."""

from __future__ import annotations

import dataclasses

from PIL import Image

from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest
from studio.pipelines.catalog.model_folders import read_vocabulary
from studio.pipelines.run.diffusion import Progress
from studio.pipelines.run.prepared_run import PassRunner
from studio.pipelines.run.run_plan import Resources
from studio.pipelines.run.scene_layout import place_things, put_together
from studio.pipelines.run.text_to_image import Drawing
from studio.pipelines.upscale import upscale_request
from studio.prompting.networks import move_tags_to_loras
from studio.prompting.scene import Scene, read_scene

_STRIDE = 1_000_003  # between the seeds of the things of one image, far from those of the next images
_SEEDS = 2**64


class ComposedDrawing:
    """A planned request for images of several things; `draw` may be called again with fewer seeds."""

    is_sequential = False

    def __init__(self, resources: Resources, request: GenerationRequest, runs: PassRunner, scene: Scene) -> None:
        """Raises what planning one of the things raises, before anything is loaded."""
        model = resources.model(request.model)
        self._size = model.get_result_size(request)
        if request.enlarge:
            upscale_request.check_output_size(self._size, runs.ctx)
        width, height = model.sizes.liked[0]
        one = request.replace(width=width, height=height, aspect=None, seed_resize="")
        self._things = [Drawing(resources, one.replace(prompt=thing.prompt), runs) for thing in scene.things]
        self._spots = place_things(scene, *self._size)
        names = "; ".join(thing.prompt for thing in scene.things)
        runs.ctx.add_notice(f"Composed of {len(self._things)} things: {names}.")

    @property
    def steps(self) -> int:
        """Steps of one `draw`."""
        return sum(thing.steps for thing in self._things)

    def draw(self, seeds: tuple[ImageSeed, ...], progress: Progress) -> list[Image.Image]:
        """An image per seed, in order."""
        drawn: list[list[Image.Image]] = []
        for number, thing in enumerate(self._things):
            drawn.append(thing.draw(tuple(_shift_seed(seed, number) for seed in seeds), progress))
            progress.before += thing.steps
        return [put_together(images, self._spots, self._size) for images in zip(*drawn, strict=True)]


def plan_drawing(resources: Resources, request: GenerationRequest, runs: PassRunner) -> Drawing | ComposedDrawing:
    """What draws `request`: composed where it asks for that and its prompt for several things, else as it stands.
    Raises as both do."""
    if not request.compose or _has_other_plans(request):
        return Drawing(resources, request, runs)
    moved = move_tags_to_loras(request)
    vocabulary = read_vocabulary(resources.catalog.checkpoint(request.model).path)
    scene = read_scene(moved.prompt, vocabulary) if vocabulary is not None else None
    if scene is None:
        return Drawing(resources, request, runs)
    if len(scene.things) == 1:  # in a place
        runs.ctx.add_notice(f"Generated as: {scene.things[0].prompt}.")
        return Drawing(resources, moved.replace(prompt=scene.things[0].prompt), runs)
    return ComposedDrawing(resources, moved, runs, scene)


def _has_other_plans(request: GenerationRequest) -> bool:
    """Whether something else arranges the image or works on it as a whole."""
    return bool(request.control or request.references or request.regions or request.hires or request.tiling)


def _shift_seed(seed: ImageSeed, number: int) -> ImageSeed:
    """The seeds of thing `number` of the image with `seed`; the first one has the image's own."""
    variation = None if seed.variation is None else (seed.variation + number * _STRIDE) % _SEEDS
    return dataclasses.replace(seed, seed=(seed.seed + number * _STRIDE) % _SEEDS, variation=variation)

"""Images of several things from a model that knows one at a time: each thing is drawn by itself, at the size that the
model was trained at, and all are put together on one ground."""

from __future__ import annotations

import dataclasses
from collections import Counter

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
_SHOWN = 60  # characters of a thing's prompt in a notice


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
        runs.ctx.add_notice(f"Composed of {len(self._things)} things: {_list_things(scene)}.")

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
    if not request.compose:
        return Drawing(resources, request, runs)
    moved = move_tags_to_loras(request)
    vocabulary = read_vocabulary(resources.catalog.checkpoint(request.model).path)
    scene = read_scene(moved.prompt, vocabulary) if vocabulary is not None else None
    others = _name_other_plans(request)
    if scene is not None and others:
        runs.ctx.add_notice(f"Not composed of single things, because of: {', '.join(others)}.")
    if scene is None or others:
        return Drawing(resources, request, runs)
    if len(scene.things) == 1:  # in a place
        runs.ctx.add_notice(f"Generated as: {scene.things[0].prompt}.")
        return Drawing(resources, moved.replace(prompt=scene.things[0].prompt), runs)
    return ComposedDrawing(resources, moved, runs, scene)


def _name_other_plans(request: GenerationRequest) -> list[str]:
    """What else arranges the image or works on it as a whole, in words."""
    plans = {
        "ControlNet": request.control,
        "reference images": request.references,
        "regional prompts": request.regions,
        "hires pass": request.hires,
        "tiling": request.tiling,
    }
    return [name for name, value in plans.items() if value]


def _list_things(scene: Scene) -> str:
    """Their prompts, each once with its number, and no more of each than one can take in."""
    counts = Counter(thing.prompt for thing in scene.things)
    shown = ((prompt if len(prompt) <= _SHOWN else f"{prompt[:_SHOWN]}…", count) for prompt, count in counts.items())
    return "; ".join(f"{prompt} × {count}" if count > 1 else prompt for prompt, count in shown)


def _shift_seed(seed: ImageSeed, number: int) -> ImageSeed:
    """The seeds of thing `number` of the image with `seed`; the first one has the image's own."""
    variation = None if seed.variation is None else (seed.variation + number * _STRIDE) % _SEEDS
    return dataclasses.replace(seed, seed=(seed.seed + number * _STRIDE) % _SEEDS, variation=variation)

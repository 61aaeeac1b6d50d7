"""One call of `render`, from the request to images: what kind of work it is, in which portions, and what if memory
ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from PIL import Image

from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest, Saving
from studio.core.task import Task
from studio.pipelines.control.control_tasks import convert_to_units, find_control_files
from studio.pipelines.run import memory_and_speed
from studio.pipelines.run.composed_drawing import plan_drawing
from studio.pipelines.run.composed_editing import plan_redrawing
from studio.pipelines.run.detailing import Detailing
from studio.pipelines.run.diffusion import Progress
from studio.pipelines.run.formula_table import ADAPTIVE_FORMULAS
from studio.pipelines.run.image_to_image import Editing
from studio.pipelines.run.oom_fallbacks import OomFallbacks
from studio.pipelines.run.prepared_run import PassRunner
from studio.pipelines.run.run_plan import Resources
from studio.pipelines.upscale.creative_upscale import CreativeUpscale


class Work(Protocol):
    """A planned request. `draw` takes `steps` steps and may be called again with fewer seeds."""

    @property
    def steps(self) -> int: ...

    @property
    def is_sequential(self) -> bool: ...

    def draw(self, seeds: tuple[ImageSeed, ...], progress: Progress) -> list[Image.Image]: ...


class Rendering:
    """One pass of the engine: `images(seeds)` may be called once."""

    def __init__(self, resources: Resources, request: GenerationRequest, ctx: JobContext) -> None:
        """Raises what planning raises: nothing is loaded yet."""
        self._ctx = ctx
        model = resources.model(request.model)
        if request.saving is Saving.TIME:
            request, summary = memory_and_speed.save_time(request, model)
            ctx.add_notice(summary)
        self._frugal = request.saving is Saving.MEMORY
        samplers = {request.sampler, request.hires.sampler if request.hires else None}
        self._one_by_one = self._frugal or bool(samplers & set(ADAPTIVE_FORMULAS))
        offload = self._frugal and resources.device == "cuda"
        self._oom_fallbacks = OomFallbacks(resources.registry, ctx, device=resources.device, offloaded=offload)
        if self._frugal:
            notice = memory_and_speed.OFFLOAD_NOTICE if offload else ""
            ctx.add_notice(f"{memory_and_speed.MEMORY_NOTICE} {notice}".strip())
        catalog = resources.catalog
        checkpoint = catalog.checkpoint(request.model)
        spec = catalog.spec(checkpoint)
        files = find_control_files(checkpoint, spec, catalog.weights())
        request = convert_to_units(request, files, spec.control)
        runs = PassRunner(resources=resources, ctx=ctx, oom_fallbacks=self._oom_fallbacks, frugal=self._frugal)
        self._work = _plan_work(resources, request, runs)

    def render_images(self, seeds: Sequence[ImageSeed]) -> list[Image.Image]:
        """An image per seed, in order."""
        work = self._work
        groups = [[seed] for seed in seeds] if self._one_by_one or work.is_sequential else [list(seeds)]
        progress = Progress(self._ctx, work.steps * len(groups))
        images: list[Image.Image] = []
        for number, group in enumerate(groups):

            def attempt(part: Sequence[ImageSeed], before: int = number * work.steps) -> list[Image.Image]:
                progress.before = before
                return work.draw(tuple(part), progress)

            images += self._oom_fallbacks.run(group, attempt)
        return images


def _plan_work(resources: Resources, request: GenerationRequest, runs: PassRunner) -> Work:
    if request.task is Task.DETAIL:
        return Detailing(resources, request, runs)
    kinds: dict[Task, Callable[[Resources, GenerationRequest, PassRunner], Work]] = {
        Task.TXT2IMG: plan_drawing,
        Task.IMG2IMG: plan_redrawing,
        Task.UPSCALE: CreativeUpscale,
    }
    drawn = kinds.get(request.task, Editing)(resources, request, runs)
    return Detailing(resources, request, runs, drawn) if request.detailers else drawn

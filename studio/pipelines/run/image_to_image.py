"""Images from images: img2img, masks and instructions, in as many loops as are asked for."""

from __future__ import annotations

import dataclasses
import math
from types import MappingProxyType
from typing import Any

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.ports import ImageSeed
from studio.core.request import MAX_SEED, GenerationRequest
from studio.core.task import Task
from studio.pipelines.control import apply_control
from studio.pipelines.control.apply_control import ControlPlan, Frame
from studio.pipelines.run import diffusion, hires, latents
from studio.pipelines.run.diffusion import Progress
from studio.pipelines.run.edit_tasks import Edit, EditContext, EditMode, plan_edit
from studio.pipelines.run.masks import Canvas
from studio.pipelines.run.prepared_run import OpenedPipeline, PassRunner
from studio.pipelines.run.run_plan import Resources, plan_pass
from studio.pipelines.upscale import upscale_image, upscale_request

_DRAWN_AS = MappingProxyType({EditMode.IMAGE: Task.IMG2IMG, EditMode.MASK: Task.INPAINT})


class Editing:
    """A planned request for work on an image; `draw` may be called again with fewer seeds."""

    def __init__(
        self, resources: Resources, request: GenerationRequest, runs: PassRunner, *, edit: Edit | None = None
    ) -> None:
        """`edit` is what the request comes to, where that is known already.

        Raises InvalidRequest or what the annotators raise, before anything is loaded."""
        model = resources.model(request.model)
        tools = EditContext(model=model, ctx=runs.ctx, annotators=resources.annotators)
        self._runs = runs
        self._loops = request.loops
        self._edit = edit or plan_edit(diffusion.resolve_defaults(request, model), tools)
        self._plan = plan_pass(resources, self._edit.request)
        self._own_class = Task.TXT2IMG not in model.tasks  # made for this one thing, and loaded as what it is
        self._run, self._total, self._share = compute_edit_steps(self._plan.steps, self._edit)
        self._final_size = model.get_result_size(self._plan.request)
        if self._plan.request.enlarge:
            upscale_request.check_output_size(self._final_size, runs.ctx)
        self._first = self._edit.ready(self._edit.source)
        self._control = self._plan_control(resources) if self._run else None

    @property
    def steps(self) -> int:
        """Steps of one `draw`."""
        return self._run * self._loops

    @property
    def is_sequential(self) -> bool:
        """Pipelines that follow instructions take several images as references for one drawing."""
        return self._edit.way is EditMode.INSTRUCTION

    def draw(self, seeds: tuple[ImageSeed, ...], progress: Progress) -> list[Image.Image]:
        """An image per seed, in order. Loop k draws from seed + k, as A1111 does: the same noise again and again leaves
        its pattern in the image."""
        sources = [self._edit.source] * len(seeds)
        for loop in range(self._loops):
            canvases = self._prepare_canvases(sources)
            if self._run == 0:
                drawn = [canvas.image for canvas in canvases]
            else:
                drawn = self._draw_images(canvases, tuple(_offset_seed(seed, loop) for seed in seeds), progress)
                progress.before += self._run
            if self._plan.request.enlarge and loop == self._loops - 1:
                drawn = self._enlarge_images(drawn)
            sources = [canvas.finish(image) for canvas, image in zip(canvases, drawn, strict=True)]
        return sources

    def _enlarge_images(self, drawn: list[Image.Image]) -> list[Image.Image]:
        """Through the network that the model brings for its own images; pasted ones that nothing is drawn over have
        another size than what is drawn, and stay as they are."""
        size = self._final_size
        with self._runs.model_upscaler(self._plan) as upscaler, self._runs.ctx.phase("upscale"):
            return [
                upscale_image.enlarge_drawn_image(image, size, upscaler) if image.size == self._plan.size else image
                for image in drawn
            ]

    def _prepare_canvases(self, sources: list[Image.Image]) -> list[Canvas]:
        """A canvas per source; the first loop has one source for all."""
        if all(source is self._edit.source for source in sources):
            return [self._first] * len(sources)
        return [self._edit.ready(source) for source in sources]

    def _plan_control(self, resources: Resources) -> ControlPlan | None:
        """Control maps come from the source as it was first, whatever the loop."""
        request, first = self._plan.request, self._first
        drawn_as = _DRAWN_AS.get(self._edit.way)
        if drawn_as is not None:
            frame = Frame(size=self._plan.size, source=first.image, region=first.region)
            return apply_control.plan_control(resources, request, drawn_as, frame, self._runs.ctx)
        if request.control:
            raise InvalidRequest("Control units are not available when editing by instruction.", hint="Turn them off.")
        if request.references and self._plan.spec.clip:
            raise InvalidRequest(
                f"{self._plan.model.title} does not support reference images.", hint="Remove the reference images."
            )
        return None

    def _draw_images(
        self, canvases: list[Canvas], seeds: tuple[ImageSeed, ...], progress: Progress
    ) -> list[Image.Image]:
        spec = self._plan.spec
        entered = {EditMode.IMAGE: spec.image_to_image, EditMode.MASK: spec.inpaint, EditMode.INSTRUCTION: None}
        class_name = None if self._own_class else entered[self._edit.way]
        with self._runs.open(self._plan, len(seeds), class_name=class_name, control=self._control) as opened:
            inputs = self._build_inputs(opened, canvases, seeds)
            part = self._first.region or self._first.shown
            return self._runs.run(opened, seeds, progress, steps=self._run, inputs=inputs, part=part)

    def _build_inputs(
        self, opened: OpenedPipeline, canvases: list[Canvas], seeds: tuple[ImageSeed, ...]
    ) -> dict[str, Any]:
        edit, pipe = self._edit, opened.pipe
        images: Any = [canvas.image for canvas in canvases]
        if edit.way is EditMode.INSTRUCTION:
            return {"image": [*images, *edit.references] if edit.references else images[0]}
        if edit.latent and images[0].size != self._plan.size:
            images = latents.stretch_latents(pipe, images, self._plan.size, [seed.seed for seed in seeds])
        inputs = {"image": images, "strength": self._share, "num_inference_steps": self._total}
        if edit.way is EditMode.MASK:
            masks = [canvas.mask for canvas in canvases if canvas.mask is not None]
            inputs["mask_image"] = masks
            latents.fill_masked_latents(pipe, masks, edit.fill)
            if edit.soft:
                pipe.mask_processor.register_to_config(do_binarize=False)
        return inputs


def compute_edit_steps(steps: int, edit: Edit) -> tuple[int, int, float]:
    """(steps really run, num_inference_steps, strength) of the call: `steps` · strength are run, rounded down, one at
    least; none at strength 0. An instruction runs them all."""
    if edit.strength == 0:
        return 0, steps, 0.0
    if edit.way is EditMode.INSTRUCTION:
        return steps, steps, 1.0
    run = max(1, math.floor(steps * edit.strength + 1e-9))
    total = steps
    while (
        share := hires.find_exact_strength(run, total)
    ) is None:  # a step more of the schedule moves the start by less than a step
        total += 1
    return run, total, share


def _offset_seed(seed: ImageSeed, loop: int) -> ImageSeed:
    return dataclasses.replace(seed, seed=(seed.seed + loop) % (MAX_SEED + 1))

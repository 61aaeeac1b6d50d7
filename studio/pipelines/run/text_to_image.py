"""Images from text: one pass, or two with the first one's result enlarged in between."""

from __future__ import annotations

from typing import Any

from PIL import Image

from studio.core.model import is_alike
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest, Hires
from studio.core.task import Task
from studio.pipelines.control import apply_control
from studio.pipelines.control.apply_control import Frame
from studio.pipelines.run import hires
from studio.pipelines.run.diffusion import Progress
from studio.pipelines.run.live_preview import can_show, unpack_latents
from studio.pipelines.run.name_checks import list_upscalers
from studio.pipelines.run.prepared_run import OpenedPipeline, PassRunner
from studio.pipelines.run.run_plan import PassPlan, Resources, plan_pass
from studio.pipelines.run.scene_layout import set_on_ground
from studio.pipelines.upscale import upscale_image, upscale_request
from studio.pipelines.upscale.upscale_image import Upscaler


class Drawing:
    """A planned request for images from text; `draw` may be called again with fewer seeds."""

    is_sequential = False

    def __init__(self, resources: Resources, request: GenerationRequest, runs: PassRunner) -> None:
        """Raises UnknownModel or InvalidRequest for what does not go together, before anything is loaded."""
        self._resources = resources
        self._runs = runs
        later = request.hires is not None and request.hires.strength > 0  # then the second pass is refined
        self._first = plan_pass(resources, request.replace(refiner=None) if later else request)
        self._hires = request.hires
        self._final_size = self._first.model.get_result_size(self._first.request)
        if request.enlarge:
            upscale_request.check_output_size(self._final_size, runs.ctx)
        self._second = self._plan_second(request.hires, request.refiner if later else None) if request.hires else None
        self._control = [
            apply_control.plan_control(resources, one.request, task, Frame(size=one.size), runs.ctx) if one else None
            for one, task in ((self._first, Task.TXT2IMG), (self._second if self._has_redraw else None, Task.IMG2IMG))
        ]

    @property
    def steps(self) -> int:
        """Steps of one `draw`."""
        return self._first.steps + (self._second.steps if self._second and self._has_redraw else 0)

    def draw(self, seeds: tuple[ImageSeed, ...], progress: Progress) -> list[Image.Image]:
        """An image per seed, in order."""
        drawn = self._draw_passes(seeds, progress)
        if not self._first.request.enlarge:
            return drawn
        with self._runs.model_upscaler(self._first) as upscaler, self._runs.ctx.phase("upscale"):
            return [_enlarge_to_shape(image, self._final_size, upscaler) for image in drawn]

    def _draw_passes(self, seeds: tuple[ImageSeed, ...], progress: Progress) -> list[Image.Image]:
        first, second, second_pass = self._first, self._second, self._hires
        if second is None or second_pass is None:
            with self._runs.open(first, len(seeds), control=self._control[0]) as opened:
                return self._runs.run(opened, seeds, progress)
        source = self._render_first_pass(seeds, progress, second, second_pass)
        if not self._has_redraw:
            return source
        progress.before += first.steps
        total, strength = hires.compute_hires_steps(second.steps, second_pass.strength)
        inputs = {"image": source, "strength": strength, "num_inference_steps": total}
        class_name, control = second.spec.image_to_image, self._control[1]
        with self._runs.open(second, len(seeds), class_name=class_name, control=control) as opened:
            return self._runs.run(opened, seeds, progress, inputs=inputs, first_pass=first.steps)

    @property
    def _has_redraw(self) -> bool:
        return self._hires is not None and self._hires.strength > 0

    def _plan_second(self, second_pass: Hires, refiner: str | None) -> PassPlan:
        first, catalog = self._first, self._resources.catalog
        model = self._resources.model(second_pass.model or first.model.id)
        family = catalog.spec(catalog.checkpoint(model.id)).family
        hires.check_hires(second_pass, first.spec.family, family, list_upscalers(catalog))
        request = first.request.replace(prompt=first.prompt)
        asked = hires.build_second_request(request, second_pass, first.model, model)
        return plan_pass(self._resources, asked.replace(refiner=refiner))

    def _render_first_pass(
        self, seeds: tuple[ImageSeed, ...], progress: Progress, second: PassPlan, second_pass: Hires
    ) -> Any:
        """The first pass at the second's size: latents where the upscaler works on them, else images."""
        first = self._first
        with self._runs.open(first, len(seeds), control=self._control[0]) as opened:
            latent = hires.is_latent(second_pass) and self._has_redraw and self._can_enlarge(opened)
            drawn = self._runs.run(opened, seeds, progress, latents=latent)
            if latent:
                width, height = first.size
                latents = unpack_latents(opened.pipe, drawn, height, width)
                return hires.enlarge_latents(latents, second_pass.upscaler, *second.size, width // latents.shape[-1])
        return [self._enlarge_image(image, second.size, second_pass) for image in drawn]

    def _can_enlarge(self, opened: OpenedPipeline) -> bool:
        """Whether this family's latents can be enlarged as a map; if not, the image is enlarged, with a notice."""
        import torch

        dimensions = 3 if hasattr(opened.pipe, "_unpack_latents") else 4
        if can_show(opened.pipe, torch.empty([0] * dimensions)):
            return True
        title = opened.plan.spec.title
        self._runs.ctx.add_notice(f"Latents of {title} cannot be upscaled; Lanczos was used instead.")
        return False

    def _enlarge_image(self, image: Image.Image, size: tuple[int, int], second_pass: Hires) -> Image.Image:
        kind = upscale_image.RESAMPLERS.get(second_pass.upscaler)
        if kind is not None or hires.is_latent(second_pass):
            return image.resize(size, kind or Image.Resampling.LANCZOS)
        with self._runs.upscaler(second_pass.upscaler) as upscaler:
            return upscale_image.enlarge_image(image, size, upscaler, self._resources.device)


def _enlarge_to_shape(image: Image.Image, size: tuple[int, int], upscaler: Upscaler) -> Image.Image:
    """`image` enlarged to `size`; a square in the middle of its ground where that has another shape."""
    if is_alike(size, image.size):
        return upscale_image.enlarge_drawn_image(image, size, upscaler)
    side = min(size)
    return set_on_ground(upscale_image.enlarge_drawn_image(image, (side, side), upscaler), size)

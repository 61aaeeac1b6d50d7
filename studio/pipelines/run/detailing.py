"""Detailers at work: areas of finished images found and drawn again at full resolution."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from studio.core.detailer import Detailer
from studio.core.errors import InvalidRequest
from studio.core.model import Model
from studio.core.ports import ImageSeed
from studio.core.request import MAX_SEED, GenerationRequest
from studio.core.request_choices import Resize
from studio.core.request_parts import Inpaint
from studio.core.task import Task
from studio.pipelines.run import masks
from studio.pipelines.run.detail_areas import check_target, find_areas
from studio.pipelines.run.diffusion import Progress, resolve_defaults
from studio.pipelines.run.edit_tasks import EditContext, plan_masked
from studio.pipelines.run.image_to_image import Editing
from studio.pipelines.run.prepared_run import PassRunner
from studio.pipelines.run.run_plan import PassPlan, Resources, plan_pass

if TYPE_CHECKING:
    from studio.pipelines.run.render import Work

_SEPARATOR, _OWN_PROMPT, _SKIP = "[SEP]", "[PROMPT]", "[SKIP]"


@dataclass(frozen=True, kw_only=True)
class _DetailerPlan:
    """A detailer, the request that draws one area but for its prompt, and that request looked up."""

    detailer: Detailer
    request: GenerationRequest
    model: Model
    found: PassPlan


class Detailing:
    """A planned request and its detailers. `drawn` makes the images that they work on; without it, that is the
    request's source. `draw` may be called again with fewer seeds."""

    def __init__(
        self, resources: Resources, request: GenerationRequest, runs: PassRunner, drawn: Work | None = None
    ) -> None:
        """Raises UnknownModel, InvalidRequest or NotConfigured for what a detailer lacks, before anything is loaded."""
        self._resources = resources
        self._request = request
        self._runs = runs
        self._drawn = drawn
        self._plans = [_plan_detailer(resources, request, one) for one in request.detailers or (Detailer(),)]

    @property
    def steps(self) -> int:
        """Steps of one `draw`; each detailer counts for those of one area, however many it finds."""
        return self._own_steps + sum(plan.found.steps for plan in self._plans)

    @property
    def is_sequential(self) -> bool:
        return self._drawn is not None and self._drawn.is_sequential

    @property
    def _own_steps(self) -> int:
        return 0 if self._drawn is None else self._drawn.steps

    def draw(self, seeds: tuple[ImageSeed, ...], progress: Progress) -> list[Image.Image]:
        """An image per seed, in order."""
        start = progress.before
        images = [self._load_source()] * len(seeds) if self._drawn is None else self._drawn.draw(seeds, progress)
        start += self._own_steps
        for plan in self._plans:
            for number, seed in enumerate(seeds):
                share = plan.found.steps / len(seeds)
                images[number] = self._redraw_areas(
                    images[number], plan, seed, progress.take_share(start + number * share, share)
                )
            start += plan.found.steps
        return images

    def _load_source(self) -> Image.Image:
        if self._request.source is None:
            raise InvalidRequest("No image for the detailer.", hint="Choose an image.")
        return self._runs.ctx.load_image(self._request.source)

    def _redraw_areas(
        self, image: Image.Image, plan: _DetailerPlan, seed: ImageSeed, progress: Progress
    ) -> Image.Image:
        """`image` with every area drawn again; area k is drawn from seed + k."""
        ctx, detailer = self._runs.ctx, plan.detailer
        areas = find_areas(image, detailer, self._resources.annotators, ctx)
        if not areas:
            ctx.add_notice(f"Detailer: no {detailer.target} was found.")
        for number, area in enumerate(areas):
            prompt = _choose_prompt(detailer.prompt, self._request.prompt, number)
            if prompt is None:
                continue
            request = plan.request.replace(prompt=prompt)
            tools = EditContext(model=plan.model, ctx=ctx, annotators=self._resources.annotators)
            edge = masks.prepare_mask(area.draw_mask(image.size), request.inpaint)
            edit = plan_masked(request, image, edge, tools, detailer.strength)
            work = Editing(self._resources, request, self._runs, edit=edit)
            progress.total = work.steps * len(areas)
            progress.before = work.steps * number
            own = dataclasses.replace(seed, seed=(seed.seed + number) % (MAX_SEED + 1))
            (image,) = work.draw((own,), progress)
        return image


def _plan_detailer(resources: Resources, request: GenerationRequest, detailer: Detailer) -> _DetailerPlan:
    check_target(detailer, resources.annotators)
    model = resources.model(detailer.model or request.model)
    wanted = build_area_request(request, detailer, resources.model(request.model), model)
    model.check(wanted)
    resolved = resolve_defaults(wanted, model)
    prompt = _choose_prompt(detailer.prompt, request.prompt, 0) or ""
    found = plan_pass(resources, resolved.replace(prompt=prompt))
    return _DetailerPlan(detailer=detailer, request=resolved, model=model, found=found)


def build_area_request(request: GenerationRequest, detailer: Detailer, first: Model, model: Model) -> GenerationRequest:
    """The request that draws one area: `request`, drawn by the model `first`, with the detailer's fields where they are
    set. Another checkpoint brings its own sampler where it lacks the image's."""
    sampler = detailer.sampler or request.sampler
    if detailer.sampler is None and sampler not in model.sampling.combinations:
        sampler = None
    schedule = detailer.schedule or (request.schedule if sampler == request.sampler else None)
    if schedule not in model.sampling.combinations.get(sampler or model.sampling.sampler, ()):
        schedule = None
    width, height = _choose_size(request, detailer, first, model)
    return GenerationRequest(
        task=Task.INPAINT,
        model=model.id,
        prompt=request.prompt,
        negative_prompt=detailer.negative_prompt or request.negative_prompt,
        prompt_weight=request.prompt_weight,
        negative_weight=request.negative_weight,
        width=width,
        height=height,
        variation_seed=request.variation_seed,
        variation_strength=request.variation_strength,
        noise_source=request.noise_source,
        noise_seed_delta=request.noise_seed_delta,
        steps=detailer.steps or request.steps,
        guidance=request.guidance if detailer.guidance is None else detailer.guidance,
        sampler=sampler,
        schedule=schedule,
        clip_skip=request.clip_skip,
        vae=request.vae if model.id == first.id else None,
        loras=request.loras if model.family == first.family else (),
        strength=detailer.strength,
        resize=Resize.CROP,
        inpaint=Inpaint(mask_blur=detailer.mask_blur, padding=detailer.padding, only_masked=True),
    )


def _choose_size(request: GenerationRequest, detailer: Detailer, first: Model, model: Model) -> tuple[int, int]:
    """The detailer's own, else that of the image's first pass; the model's where the image was not drawn here."""
    if detailer.width is not None and detailer.height is not None:
        return detailer.width, detailer.height
    if request.task is Task.DETAIL:
        return model.sizes.liked[0]
    size = first.get_size(request)
    return size if model.sizes.allows(*size) else model.sizes.find_nearest_size(*size)


def _choose_prompt(prompt: str, own: str, number: int) -> str | None:
    """The prompt of area `number`, where `own` is the image's; None for one that stays as it is. The last part serves
    for the areas beyond."""
    parts = prompt.split(_SEPARATOR)
    part = parts[min(number, len(parts) - 1)].strip()
    if part == _SKIP:
        return None
    return part.replace(_OWN_PROMPT, own) or own

"""One pass from the first request to the last step that follows it, each step in the lane where it belongs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from studio.core.errors import StudioError
from studio.core.model import GPU_LANE, Model
from studio.core.ports import Backend, ImageSeed
from studio.core.pricing import Estimate, ImageSizes
from studio.core.request import GenerationRequest, count_outputs
from studio.core.result import RenderedImage
from studio.engine.jobs.job_context import RunContext
from studio.engine.jobs.source_checks import describe_rounded_size
from studio.engine.models.model_list import Models
from studio.engine.money.ledger import Ledger


class LaneExecutor(Protocol):
    """Runs work in another lane's thread and waits for its result, as long as the job may go on."""

    def __call__(self, lane: str, work: Callable[[], Any], context: RunContext) -> Any: ...


class ChainRenderer:
    """Renders passes. A step of the GPU lane runs there whatever lane the job is in; every other step runs where the
    job is."""

    def __init__(self, models: Models, ledger: Ledger, in_lane: LaneExecutor) -> None:
        self._models = models
        self._ledger = ledger
        self._in_lane = in_lane

    def render(
        self, request: GenerationRequest, seeds: Sequence[ImageSeed], context: RunContext, lane: str
    ) -> list[RenderedImage]:
        """`outputs_of(request)` images per seed, in order; `lane` is the one that calls.

        Raises:
            what the backends raise.
        """
        parts = 1 + len(request.then)
        context.start_part(0, parts)
        rendered = self._render(request.replace(then=()), seeds, context)
        for number, step in enumerate(request.then, 1):
            context.start_part(number, parts)
            rendered = [result for one in rendered for result in self._render_step(step, one, context, lane)]
        return rendered

    def _render_step(
        self, step: GenerationRequest, before: RenderedImage, context: RunContext, lane: str
    ) -> list[RenderedImage]:
        _, model = self._models.find(step.model)
        request = _prepare_step(step, before, model, context)
        seed = ImageSeed(seed=before.seed)

        def work() -> list[RenderedImage]:
            return self._render(request, [seed], context)

        results = self._in_lane(GPU_LANE, work, context) if model.lane == GPU_LANE != lane else work()
        return [_merge_result(before, result) for result in results]

    def _render(
        self, request: GenerationRequest, seeds: Sequence[ImageSeed], context: RunContext
    ) -> list[RenderedImage]:
        """One call of a backend; one that costs money is in the ledger before it is sent."""
        backend, model = self._models.find(request.model)
        if not model.paid:
            return _call_backend(backend, request, seeds, context)
        sizes = context.get_image_sizes(request)
        expected = estimate_backend_cost(backend, request.replace(count=len(seeds)), sizes)
        job = context.job
        with self._ledger.record_purchase((job.id, job.user), (model.lane, model.id), len(seeds), expected) as bought:
            rendered = _call_backend(backend, request, seeds, context)
            costs = [one.cost for one in rendered if one.cost is not None]
            bought.cost = sum(costs) if costs else None
            bought.ordered_at = next((one.ordered_at for one in rendered if one.ordered_at is not None), None)
        return rendered


def check_backend_names(backend: Backend, request: GenerationRequest) -> None:
    """Refuse names of files that `backend` does not have, where it knows of files.

    Raises:
        UnknownModel, InvalidRequest: the name, with the nearest that there are.
    """
    check: Callable[[GenerationRequest], None] | None = getattr(backend, "check_names", None)
    if check is not None:
        check(request)


def estimate_backend_cost(backend: Backend, request: GenerationRequest, sizes: ImageSizes) -> float | None:
    """Estimate the cost of `request`, as it is sent to `backend`, in US dollars; 0 where it is free, None where
    it is unknown. `sizes` are those of its images."""
    ask = getattr(backend, "estimate", None)
    if ask is None:
        return 0.0
    found: Estimate | None = ask(request, sizes)
    return None if found is None else found.amount


def _prepare_step(
    step: GenerationRequest, before: RenderedImage, model: Model, context: RunContext
) -> GenerationRequest:
    """The step with the image that came before as its source, at a size of its model's liking."""
    size = before.image.size
    request = fit_step_size(step.replace(source=context.register_image(before.image)), model, size)
    rounded = describe_rounded_size(request, model, [size]) if request.width != step.width else ""
    if rounded:
        context.add_notice(rounded)
    return request


def fit_step_size(step: GenerationRequest, model: Model, size: tuple[int, int]) -> GenerationRequest:
    """The step that works on an image of `size`, at a size of its model's liking where it names none."""
    if not step.task.is_generative or step.width or step.height or step.aspect:
        return step
    return model.fit_to_source(step, *size)


def _merge_result(before: RenderedImage, result: RenderedImage) -> RenderedImage:
    costs = [cost for cost in (before.cost, result.cost) if cost is not None]
    return dataclasses.replace(
        result,
        seed=before.seed,
        variation_seed=before.variation_seed,
        batch_index=before.batch_index,
        notes=(*before.notes, *result.notes),
        cost=sum(costs) if costs else None,
        original=result.original or before.original,
    )


def _call_backend(
    backend: Backend, request: GenerationRequest, seeds: Sequence[ImageSeed], context: RunContext
) -> list[RenderedImage]:
    rendered = backend.render(request, seeds, context)
    wanted = len(seeds) * count_outputs(request)
    if len(rendered) != wanted:
        raise StudioError(f"The model returned {len(rendered)} images instead of {wanted}.", hint="Try another model.")
    return rendered

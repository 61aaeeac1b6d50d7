"""Taking a request in: its model found and asked, its images looked at, its seed fixed, all before any wait and any
cost."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from studio.core.errors import InvalidRequest, ModelBroken, NotFound, UnknownModel
from studio.core.grid import draw_axis_seeds, expand_cells
from studio.core.model import Feature, Model
from studio.core.pricing import ImageSizes
from studio.core.request import GenerationRequest, count_outputs
from studio.core.settings import Settings
from studio.core.task import Task
from studio.core.text_checks import check_all_texts
from studio.core.upscale_modes import compute_upscaled_size
from studio.engine.jobs.chain_steps import check_backend_names, estimate_backend_cost, fit_step_size
from studio.engine.jobs.generation_count import count_generations
from studio.engine.jobs.passes import PlannedImage, make_random_seed, plan_images
from studio.engine.jobs.prompt_drawing import describe_drawing, draw_prompts
from studio.engine.jobs.source_checks import (
    REDRAWING_TASKS,
    check_images,
    collect_image_sizes,
    describe_large_size,
    describe_rounded_size,
    describe_things,
    fill_composed,
    fill_size,
    list_sources,
)
from studio.engine.lookups import Successor
from studio.engine.models.fallback_request import adapt, format_fallback_notice
from studio.engine.models.model_choice import choose_model
from studio.engine.models.model_list import Models
from studio.engine.storage.inputs import Images, KeptImage
from studio.prompting.comments import strip_request_comments
from studio.prompting.wildcards import Wildcards

_SOURCE = "source"  # stands for an image of which only the size is known
_UNSAID_SCALE = 2.0  # of an upscale that does not say how much


@dataclass(frozen=True, kw_only=True)
class AdmittedRequest:
    """A request that can be carried out. `images` are drawn, and each ends as `outputs_of(request)` files; for them
    `generations` are generated, more where some are composed of several things. `notes` say what was changed to make it
    so."""

    request: GenerationRequest
    model: Model
    images: int
    generations: int
    notes: tuple[str, ...] = ()


class Admission:
    """Takes requests of any user in."""

    def __init__(
        self,
        models: Models,
        images: Images,
        find_successor: Callable[[str], Successor | None],
        wildcards: Wildcards,
    ) -> None:
        self._models = models
        self._images = images
        self._find_successor = find_successor
        self._wildcards = wildcards

    def admit_request(self, request: GenerationRequest, user: str, settings: Settings) -> AdmittedRequest:
        """`request` with its models, sizes and seed fixed. A model that is missing or broken gives way to the fallback
        model.

        Raises:
            UnknownModel, ModelBroken, InvalidRequest: it cannot be carried out. NotFound: an image that it names is
                gone.
        """
        check_all_texts(request, "request")
        if settings.prompt_comments:
            request = strip_request_comments(request)
        models = self._models
        request, notes = self._replace_retired_model(request)
        named = self._name_models(request, user, settings)
        check_images(named, user, self._images)
        try:
            backend, model = models.find(named.model)
            sized = fill_size(named, model, user, self._images)
            model.check(sized)
        except (UnknownModel, ModelBroken) as failure:
            if settings.fallback_model in ("", named.model):
                raise
            backend, model = models.find(settings.fallback_model)
            notes = (*notes, format_fallback_notice(named.model, model, failure))
            sized = fill_size(adapt(named, model), model, user, self._images)
        named = fill_composed(sized, model, user, self._images)
        fixed = draw_prompts(_fix_seed(named, model), self._wildcards.of(user))
        images = plan_images(fixed)
        for drawn in dict.fromkeys(image.request for image in images) if fixed.drawn else (named,):
            check_backend_names(backend, drawn)
            self._check_chain(drawn, settings)
        kept = [self._images.get(name, user) for name in list_sources(named)]
        asked = request.width or request.height or request.aspect
        rounded = "" if asked else describe_rounded_size(named, model, [(one.width, one.height) for one in kept])
        notices = (*(one.notice for one in kept), rounded, *self._describe_limits(named, model, kept))
        notes = (*notes, *dict.fromkeys(filter(None, (*notices, describe_drawing(fixed)))))
        if fixed.axes:
            self._check_cells(fixed, images, model, settings)
        generations = count_generations(fixed, models, settings.fallback_model)
        return AdmittedRequest(request=fixed, model=model, images=len(images), generations=generations, notes=notes)

    def _describe_limits(self, request: GenerationRequest, model: Model, sources: list[KeptImage]) -> Iterator[str]:
        """What to say of a size that `model` draws badly, and of things that it knows one at a time and redraws as one:
        those of the prompt, or of what a source is composed of."""
        count = self._models.count_generations
        if count(request) > 1:  # each thing has the size that the model knows
            return
        yield describe_large_size(request, model)
        if model.sampling.compose and request.task in REDRAWING_TASKS and not request.mask:
            composed = [one.history[0].prompt for one in sources if one.history and one.history[0].compose]
            wanted = GenerationRequest(model=model.id, compose=True)
            things = (count(wanted.replace(prompt=prompt)) for prompt in (request.prompt, *composed))
            yield describe_things(max(things), model)

    def _replace_retired_model(self, request: GenerationRequest) -> tuple[GenerationRequest, tuple[str, ...]]:
        """The request with a model that has ended replaced by its successor, and the sentence that says so."""
        if not request.model or any(model.id == request.model for model in self._models.all()):
            return request, ()
        successor = self._find_successor(request.model)
        return (request, ()) if successor is None else (request.replace(model=successor.model), (successor.notice,))

    def _replace_missing_model(self, request: GenerationRequest, settings: Settings) -> GenerationRequest:
        """`request` as the model draws it that takes over where its own is not there, as it will be run."""
        fallback = request.fallbacks[0] if request.fallbacks else settings.fallback_model
        if not fallback or any(model.id == request.model for model in self._models.all()):
            return request
        return adapt(request, self._models.find(fallback)[1])

    def resolve_request(self, request: GenerationRequest, user: str, settings: Settings) -> GenerationRequest:
        """`request` with the model that would draw it now, and its size; its images may still be missing.

        Raises:
            UnknownModel, InvalidRequest: there is no such model. NotFound: its first image is gone.
        """
        named = self._name_models(request, user, settings)
        return fill_size(named, self._models.find(named.model)[1], user, self._images)

    def estimate(self, request: GenerationRequest, user: str, settings: Settings) -> float | None:
        """Estimate the cost of all images and steps of `request` in US dollars, as they will be sent; None when
        it is unknown. Where its model is not there, the fallback model counts. Raises UnknownModel, and InvalidRequest
        for what no image can be made of."""
        if request.axes:
            alike = Counter(cell.request.replace(seed=None, prompt="", template="") for cell in expand_cells(request))
            costs = [(self.estimate(one, user, settings), count) for one, count in alike.items()]
            known = [cost * count for cost, count in costs if cost is not None]
            return sum(known) if len(known) == len(costs) else None
        named = self._replace_missing_model(self._name_models(request, user, settings), settings)
        total = 0.0
        for size, number in self._count_sources(named, user).items():
            for step, model, sizes in self._plan_calls(named, user, size):
                backend, _ = self._models.find(model.id)
                cost = estimate_backend_cost(backend, step, sizes)
                if cost is None:
                    return None
                total += cost * number
        return total

    def has_paid_models(self, request: GenerationRequest) -> bool:
        """Whether anything that the admitted `request` may run costs money: its model, a step, a fallback, a cell of
        its grid."""
        return any(model.paid for model in self.list_models(request))

    def list_models(self, request: GenerationRequest) -> list[Model]:
        """The models that the admitted `request` may run: its own, those of its steps, fallbacks and cells."""
        requests = [*(cell.request for cell in expand_cells(request)), *request.then]
        names = {one.model for one in requests} | set(request.fallbacks)
        return [model for model in self._models.all() if model.id in names]

    def is_paid(self, model_id: str) -> bool:
        """Whether the model of that id costs money; False where there is none."""
        return any(model.paid for model in self._models.all() if model.id == model_id)

    def _name_models(self, request: GenerationRequest, user: str, settings: Settings) -> GenerationRequest:
        """The request with the models that would draw it now."""
        living, _ = self._replace_retired_model(request)
        chosen = choose_model(living, self._models, lambda one: self.estimate(one, user, settings))
        return self._fill_models(chosen, settings)

    def _count_sources(self, request: GenerationRequest, user: str) -> Counter[tuple[int, int] | None]:
        """How many sources of each size the request has; None stands for no source, or for one that is not there."""
        named = request.replace(mask=None, background=None, lighting=None, references=(), control=())
        sizes = collect_image_sizes(named, user, self._images)
        return Counter(sizes.get(name) for name in list_sources(request)) or Counter([None])

    def _plan_calls(
        self, request: GenerationRequest, user: str, size: tuple[int, int] | None
    ) -> Iterator[tuple[GenerationRequest, Model, ImageSizes]]:
        """The calls for a source of `size`, step by step: the request with its size, its model, and the sizes of its
        images."""
        _, model = self._models.find(request.model)
        first = request.replace(then=(), batch=())
        with contextlib.suppress(NotFound):
            first = fill_size(request, model, user, self._images).replace(then=(), batch=())
        if size is not None:
            first = first.replace(source=_SOURCE)
        for step in (first, *request.then):
            _, model = self._models.find(step.model)
            if step.task not in model.tasks:
                raise InvalidRequest(f"{model.title} does not support {step.task}.", hint="Pick another model.")
            if step is not first:
                assert size is not None
                step = fit_step_size(step.replace(source=_SOURCE, count=request.count), model, size)
            sizes = collect_image_sizes(step, user, self._images)
            yield step, model, {**sizes, _SOURCE: size} if size is not None else sizes
            size = _predict_size(step, model, size)

    def _fill_models(self, request: GenerationRequest, settings: Settings) -> GenerationRequest:
        """The request, and what follows it, with every model named."""
        name = self._models.complete_name(request.model)
        request = request.replace(model=name or self._models.default(settings.default_model, request.task).id)
        if not request.then:
            return request
        return request.replace(then=tuple(self._fill_models(step, settings) for step in request.then))

    def _check_chain(self, request: GenerationRequest, settings: Settings) -> None:
        """Refuse a step that its model cannot do; its size is only known when the image before it is there."""
        for number, step in enumerate(request.then, 1):
            backend, model = self._models.find(step.model)
            try:
                model.check(step)
                check_backend_names(backend, step)
            except InvalidRequest as error:
                raise InvalidRequest(
                    f"Step {number} of the chain: {error.message}", hint=error.hint, details=error.details
                ) from error

    def _check_cells(
        self, request: GenerationRequest, images: list[PlannedImage], model: Model, settings: Settings
    ) -> None:
        if count_outputs(request) > 1:
            raise InvalidRequest(
                "A grid cannot be combined with a step that makes several files.",
                hint="Remove the last step or the grid.",
            )
        for image in images:
            try:
                backend, own = self._models.find(image.request.model)
                own.check(image.request)
                check_backend_names(backend, image.request)
            except (UnknownModel, ModelBroken):
                if not settings.fallback_model:
                    raise
                continue
            if own.lane != model.lane:
                raise InvalidRequest(
                    f"The grid mixes {model.title} with {own.title}, which run on different devices or services.",
                    hint="Use only local models, or only models of one service.",
                )


def _predict_size(step: GenerationRequest, model: Model, size: tuple[int, int] | None) -> tuple[int, int]:
    """The size of the step's result, as far as it is known beforehand."""
    if size is None or (step.task.is_generative and not step.mask):
        return model.get_result_size(step)
    if step.task is Task.UPSCALE:
        return compute_upscaled_size(step.upscale, *size, native=_UNSAID_SCALE)
    return size


def _fix_seed(request: GenerationRequest, model: Model) -> GenerationRequest:
    if request.axes:
        request = draw_axis_seeds(request, make_random_seed)
    if request.seed is None and Feature.SEED in model.features:
        request = request.replace(seed=make_random_seed())
    if request.variation_strength > 0 and request.variation_seed is None:
        request = request.replace(variation_seed=make_random_seed())
    return request

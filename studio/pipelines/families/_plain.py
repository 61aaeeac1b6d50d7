"""Families that draw with the sampler of their maker, from text and a few from images: what a model of one says of
itself, how it is loaded, and pipelines whose call lacks what the studio asks of all."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from studio.core.model import Feature, Model, Sampling, Sizes
from studio.core.ports import LoadOptions
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.families import _parts

FEATURES = _parts.NON_CLIP_FEATURES - {
    Feature.STRENGTH,
    Feature.SAMPLER,
    Feature.LORA,
    Feature.VAE,
    Feature.HIRES,
}


@dataclass(frozen=True, kw_only=True)
class PlainFamily:
    """One family. `guidance` is that of the makers' card; without `has_negative` there is no negative prompt. `tasks`
    are those that diffusers has pipelines for; `has_hires` takes one that begins with latents too. `transformer` and
    `repos` are the class of a transformer that comes as a single file and where its other parts are; empty where there
    are folders only."""

    family: str
    steps: int
    guidance: float
    sizes: Sizes
    tasks: frozenset[Task] = frozenset({Task.TXT2IMG})
    has_hires: bool = False
    has_negative: bool = True
    max_batch: int = 1
    transformer: str = ""
    repos: tuple[str, ...] = ()
    note: str = ""

    def describe(self, weight: WeightFile, *, steps: int = 0, guidance: float | None = None) -> Model:
        """The model; `steps` and `guidance` are those of another training of the family."""
        lacks = frozenset() if self.has_negative else frozenset({Feature.NEGATIVE_PROMPT})
        more = {Feature.STRENGTH} if Task.IMG2IMG in self.tasks else set[Feature]()
        more |= {Feature.HIRES} if self.has_hires else set[Feature]()
        chosen = self.guidance if guidance is None else guidance
        return Model(
            id=weight.name,
            title=weight.name,
            family=self.family,
            tasks=self.tasks,
            features=FEATURES - lacks | more,
            sampling=Sampling(steps=steps or self.steps, guidance=chosen, sampler="", combinations={}),
            sizes=self.sizes,
            max_batch=self.max_batch,
            ignores=_parts.IGNORES_SYNTAX,
            note=self.note,
            problem=_parts.find_transformer_problem(weight, self.repos) if self.repos else "",
        )

    def load(self, weight: WeightFile, options: LoadOptions, class_name: str) -> Any:
        """The pipeline `class_name`, from a folder or from a transformer's file and its companion."""
        if weight.is_folder:
            return _parts.load_folder(weight, options, class_name)
        return _parts.load_transformer_file(weight, options, class_name, self.transformer, self.repos)


def detect_nothing(header: SafetensorsHeader) -> bool:
    """For families without single files that diffusers can read."""
    return False


def build_guidance(request: GenerationRequest, model: Model) -> dict[str, Any]:
    """Guidance under the name that most pipelines have for it."""
    return {"guidance_scale": request.guidance}


def build_fixed_sizes(*sizes: tuple[int, int]) -> Sizes:
    """Sizes of a pipeline that draws those alone; any other comes out as the nearest in shape."""
    sides = [side for size in sizes for side in size]
    return Sizes(liked=sizes, multiple=16, smallest=min(sides), largest=max(sides), max_pixels=max(sides) ** 2)


def add_call_parameters(call: Callable[..., Any], base: Callable[..., Any], *names: str) -> Any:
    """`call` with the signature of the pipeline's own call `base` and keyword parameters `names` besides, by which the
    studio sees what it may give."""
    own = list(inspect.signature(base).parameters.values())
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in names]
    variable = [one for one in own if one.kind is inspect.Parameter.VAR_KEYWORD]
    plain = [one for one in own if one.kind is not inspect.Parameter.VAR_KEYWORD]
    call.__signature__ = inspect.Signature([*plain, *added, *variable])  # type: ignore[attr-defined]
    return call


def report_steps(pipe: Any, after_step: Callable[..., Any] | None) -> Callable[[], None]:
    """Let `pipe`, whose call knows no callback, call `after_step` from its scheduler, as others do after each step.
    Returns what ends that."""
    step = pipe.scheduler.step
    if after_step is None:
        return lambda: None
    count = itertools.count()

    @functools.wraps(step)  # pipelines look at the signature
    def step_and_report(model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        found = step(model_output, timestep, sample, *args, **kwargs)
        after_step(pipe, next(count), timestep, {"latents": found[0]})
        return found

    def stop() -> None:
        pipe.scheduler.step = step

    pipe.scheduler.step = step_and_report
    return stop

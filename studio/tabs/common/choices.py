"""Choices of the form's lists: models, sizes, schedules, weights."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.model import Model
from studio.core.weights import WeightFile, WeightKind

ASPECTS = ("1:1", "5:4", "4:3", "3:2", "16:9", "4:5", "3:4", "2:3", "9:16")
CUSTOM_SIZE = "Custom"
# the upscalers of the hires pass that need no file: in latent space as AUTOMATIC1111 names them, and on pixels
UPSCALERS = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
    "Lanczos",
    "Nearest",
)


def list_model_choices(models: Sequence[Model]) -> list[tuple[str, str]]:
    """Title and id of each model; those that cannot be used come last and say so."""
    ready_first = sorted(models, key=lambda model: bool(model.problem))
    return [(f"{model.title}{_describe_state(model)}", model.id) for model in ready_first]


def _describe_state(model: Model) -> str:
    if not model.problem:
        return ""
    return " (locked)" if model.locked else " (unavailable)"


def list_schedule_choices(model: Model, sampler: str) -> list[str]:
    """The schedules that `sampler` may be given."""
    return list(model.sampling.combinations.get(sampler, ())) or [model.sampling.schedule]


def list_size_choices(model: Model) -> list[tuple[str, str]]:
    """The model's liked sizes, then the common shapes at its usual area; a model without any leaves it to the user."""
    if not model.sizes.liked:
        return [(CUSTOM_SIZE, CUSTOM_SIZE)]
    liked = [(f"{width} × {height}", f"{width}x{height}") for width, height in model.sizes.liked]
    seen = {value for _, value in liked}
    shapes: list[tuple[str, str]] = []
    for aspect in ASPECTS:
        width, height = model.sizes.fit_size(None, None, aspect)
        value = f"{width}x{height}"
        if value not in seen:
            seen.add(value)
            shapes.append((f"{aspect} · {width} × {height}", value))
    return [*liked, *shapes, (CUSTOM_SIZE, CUSTOM_SIZE)]


def list_weight_names(weights: Sequence[WeightFile], kind: WeightKind) -> list[str]:
    """The usable files of one kind, by name."""
    return sorted(weight.name for weight in weights if weight.kind is kind and not weight.problem)

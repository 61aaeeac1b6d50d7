"""The one request: everything that affects a picture, frozen, and its way to JSON and back.

The page builds it, the HTTP dialects build it, the journal stores it, the picture carries it. `None` always means "what
the model prefers". A new field costs one line here and travels everywhere by itself.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from studio.core.codec import decode, encode
from studio.core.errors import InvalidRequest

MAX_SEED = 2**32 - 1
MAX_PROMPT_CHARS = 20_000
MAX_SIDE = 16_384  # px; a model's own limit is lower, this one keeps nonsense out of the journal


class Task(StrEnum):
    TXT2IMG = "txt2img"
    IMG2IMG = "img2img"


class Saving(StrEnum):
    """What the user wants to save when both cannot be had."""

    MEMORY = "memory"
    TIME = "time"


@dataclass(frozen=True, kw_only=True)
class LoraUse:
    """A LoRA by its catalog name; `weight` scales its effect, usually 0 to 1, and may be negative."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Hires:
    """A second pass: enlarge the first picture and denoise it again.

    `upscaler` names a latent mode or a picture upscaler. `width` and `height`, both in px, win over `scale`. Every other
    field that is None is taken from the first pass. `strength` is the denoising strength, 0 to 1.
    """

    upscaler: str = "Latent"
    scale: float = 2.0
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    strength: float = 0.7
    guidance: float | None = None
    prompt: str = ""
    negative_prompt: str = ""
    sampler: str | None = None
    schedule: str | None = None
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a grid: the parameter's name in studio.core.grid and its values as the user typed them."""

    parameter: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """What to make. Lengths in px, `seed` 0 to 2**32-1, `guidance` the CFG scale, `clip_skip` counted as A1111 does (1 = last layer).

    `count` is the number of pictures; `batch_size` how many of them go through the model together, which changes speed
    and memory but not the pictures: picture k is drawn from seed + k. With `variation_strength` above 0 all pictures
    start from `seed` and lean towards `variation_seed` + k by that fraction. `axes` turns the request into a grid job:
    one picture per combination.
    """

    task: Task = Task.TXT2IMG
    model: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    prompt_weight: float = 1.0
    negative_weight: float = 1.0
    width: int | None = None
    height: int | None = None
    aspect: str | None = None
    count: int = 1
    batch_size: int = 1
    seed: int | None = None
    variation_seed: int | None = None
    variation_strength: float = 0.0
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    clip_skip: int | None = None
    vae: str | None = None
    loras: tuple[LoraUse, ...] = ()
    hires: Hires | None = None
    saving: Saving | None = None
    axes: tuple[Axis, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no model could do.

        Raises:
            InvalidRequest: a field outside its range, named in the message.
        """
        for name in ("prompt", "negative_prompt"):
            if len(getattr(self, name)) > MAX_PROMPT_CHARS:
                raise InvalidRequest(
                    f"The {name.replace('_', ' ')} is longer than {MAX_PROMPT_CHARS} characters.", hint="Shorten it."
                )
        _check_range("width", self.width, 8, MAX_SIDE)
        _check_range("height", self.height, 8, MAX_SIDE)
        _check_range("count", self.count, 1, 1000)
        _check_range("batch_size", self.batch_size, 1, 64)
        _check_range("seed", self.seed, 0, MAX_SEED)
        _check_range("variation_seed", self.variation_seed, 0, MAX_SEED)
        _check_range("variation_strength", self.variation_strength, 0, 1)
        _check_range("steps", self.steps, 1, 1000)
        _check_range("guidance", self.guidance, 0, 100)
        _check_range("clip_skip", self.clip_skip, 1, 24)
        _check_range("prompt_weight", self.prompt_weight, -4, 4)
        _check_range("negative_weight", self.negative_weight, -4, 4)
        for lora in self.loras:
            _check_range(f"weight of the LoRA {lora.name}", lora.weight, -4, 4)
        if self.aspect is not None:
            parse_aspect(self.aspect)
        if self.hires is not None:
            _check_hires(self.hires)
        if len(self.axes) > 3:
            raise InvalidRequest("A grid has at most three axes.", hint="Drop one of them.")

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`, checked again; the original is untouched."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict without the fields that equal their default."""
        return encode(self)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of `to_json`; missing fields take their default.

        Raises:
            InvalidRequest: an unknown field, a wrong type or a value out of range, each named.
        """
        return decode(cls, data, "request")


def parse_aspect(text: str) -> float:
    """Width over height of "16:9" (or "16/9", "1.91:1").

    Raises:
        InvalidRequest: not two positive numbers, or steeper than 20 to 1.
    """
    try:
        width, height = (float(part) for part in text.replace("/", ":").split(":"))
        ratio = width / height
    except (ValueError, ZeroDivisionError) as error:
        raise InvalidRequest(
            f"“{text}” is not an aspect ratio.", hint="Write it as width:height, for example 16:9."
        ) from error
    if not (math.isfinite(ratio) and 1 / 20 <= ratio <= 20):
        raise InvalidRequest(f"The aspect ratio {text} is too steep.", hint="Stay between 1:20 and 20:1.")
    return ratio


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidRequest(
            f"{name.replace('_', ' ').capitalize()} is {value}, outside {low} to {high}.",
            hint=f"Choose a value from {low} to {high}.",
            details={
                "field": name,
                "value": value if math.isfinite(value) else str(value),
                "minimum": low,
                "maximum": high,
            },
        )


def _check_hires(hires: Hires) -> None:
    _check_range("hires scale", hires.scale, 1, 8)
    _check_range("hires width", hires.width, 8, MAX_SIDE)
    _check_range("hires height", hires.height, 8, MAX_SIDE)
    _check_range("hires steps", hires.steps, 1, 1000)
    _check_range("hires strength", hires.strength, 0, 1)
    _check_range("hires guidance", hires.guidance, 0, 100)
    if (hires.width is None) != (hires.height is None):
        raise InvalidRequest(
            "The hires pass has a width or a height, but not both.", hint="Give both, or only a scale."
        )

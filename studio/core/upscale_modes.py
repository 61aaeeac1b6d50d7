"""Target size an upscaled image becomes, and the three ways of enlarging one, in four qualities each, as requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from studio.core.errors import InvalidRequest
from studio.core.field_tables.finish import DEFAULT_CREATIVITY, LONG_SIDE_4K
from studio.core.finish import Upscale
from studio.core.model import Model, Quality
from studio.core.model_ids import UPSCALER_PREFIX
from studio.core.range_checks import MAX_SIDE
from studio.core.request import GenerationRequest
from studio.core.task import Task

LANCZOS, NEAREST = "Lanczos", "Nearest"


class UpscaleMode(StrEnum):
    """A way of enlarging."""

    FAST = "fast 4×"
    CONSERVATIVE = "conservative 4K"
    CREATIVE = "creative 4K"


@dataclass(frozen=True, kw_only=True)
class UpscalePreset:
    """One quality of a mode, with local models. `upscalers` are the names of files below models/upscalers, the first
    that is here is taken, Lanczos when none is. `second_weight` is how much of Lanczos is blended in: it holds the
    result to the source. `steps` is for models that redraw."""

    upscalers: tuple[str, ...] = ()
    second_weight: float = 0.0
    steps: int | None = None


_PHOTO_UPSCALERS = ("RealESRGAN_x4plus", "realesr-general-x4v3", "realesr-animevideov3")
_QUICK_UPSCALERS = ("realesr-general-x4v3", "realesr-animevideov3", "RealESRGAN_x4plus")
UPSCALE_PRESETS = MappingProxyType(
    {
        (UpscaleMode.FAST, Quality.DRAFT): UpscalePreset(),
        (UpscaleMode.FAST, Quality.STANDARD): UpscalePreset(upscalers=_QUICK_UPSCALERS),
        (UpscaleMode.FAST, Quality.HIGH): UpscalePreset(upscalers=_QUICK_UPSCALERS, second_weight=0.2),
        (UpscaleMode.FAST, Quality.BEST): UpscalePreset(upscalers=_PHOTO_UPSCALERS),
        (UpscaleMode.CONSERVATIVE, Quality.DRAFT): UpscalePreset(),
        (UpscaleMode.CONSERVATIVE, Quality.STANDARD): UpscalePreset(upscalers=_QUICK_UPSCALERS, second_weight=0.5),
        (UpscaleMode.CONSERVATIVE, Quality.HIGH): UpscalePreset(upscalers=_PHOTO_UPSCALERS, second_weight=0.5),
        (UpscaleMode.CONSERVATIVE, Quality.BEST): UpscalePreset(upscalers=_PHOTO_UPSCALERS, second_weight=0.25),
        (UpscaleMode.CREATIVE, Quality.DRAFT): UpscalePreset(upscalers=_QUICK_UPSCALERS, steps=12),
        (UpscaleMode.CREATIVE, Quality.STANDARD): UpscalePreset(upscalers=_QUICK_UPSCALERS, steps=20),
        (UpscaleMode.CREATIVE, Quality.HIGH): UpscalePreset(upscalers=_PHOTO_UPSCALERS, steps=30),
        (UpscaleMode.CREATIVE, Quality.BEST): UpscalePreset(upscalers=_PHOTO_UPSCALERS, steps=50),
    }
)
"""Cloud services have one quality for each mode of theirs."""


def compute_upscaled_size(upscale: Upscale | None, width: int, height: int, native: float) -> tuple[int, int]:
    """The (width, height) in px that `upscale` makes of an image of `width` × `height`; `native` is the factor where it
    sets none. A width with a height is taken as it is, everything else keeps the shape.

    Raises:
        InvalidRequest: a side would pass MAX_SIDE; the hint says what would do.
    """
    upscale = upscale or Upscale()
    if upscale.width is not None and upscale.height is not None:
        return upscale.width, upscale.height
    factor = upscale.scale or native
    if upscale.long_side is not None:
        factor = upscale.long_side / max(width, height)
    wide, high = max(1, round(width * factor)), max(1, round(height * factor))
    if max(wide, high) > MAX_SIDE:
        raise InvalidRequest(
            f"The image would be {wide}×{high}; the limit is {MAX_SIDE} px per side.",
            hint=f"Use a factor of {MAX_SIDE / max(width, height):.3g} at most, or for a size.",
            details={"width": wide, "height": high, "most": MAX_SIDE},
        )
    return wide, high


def find_candidates(mode: UpscaleMode, models: Sequence[Model], *, cloud: bool = False) -> tuple[Model, ...]:
    """The models that can do `mode`: upscalers for the first two, models that redraw for the third. Of a cloud service
    those whose name has the mode's first word in it."""
    usable = [model for model in models if Task.UPSCALE in model.tasks and not model.problem]
    if cloud:
        word = mode.value.partition(" ")[0]
        return tuple(model for model in usable if model.paid and word in model.id.rpartition("/")[2].lower())
    redraws = mode is UpscaleMode.CREATIVE
    return tuple(model for model in usable if not model.paid and (Task.IMG2IMG in model.tasks) == redraws)


def choose_upscale_model(
    mode: UpscaleMode, quality: Quality, models: Sequence[Model], *, cloud: bool = False
) -> Model | None:
    """The model for `mode` at `quality`, None when there is none: of the local upscalers the first that the preset
    names, of models that redraw and of cloud models the first."""
    found = find_candidates(mode, models, cloud=cloud)
    if not cloud and mode is not UpscaleMode.CREATIVE:
        name = UPSCALER_PREFIX + _choose_upscaler(UPSCALE_PRESETS[mode, quality], models)
        return next((model for model in found if model.id == name), None)
    return found[0] if found else None


def build_upscale_request(
    mode: UpscaleMode, quality: Quality, model: Model, models: Sequence[Model], *, creativity: float | None = None
) -> GenerationRequest:
    """The request for `model`, without source and prompt. `models` are all there are; `creativity` (0 to 1) is for the
    third mode.

    Raises:
        InvalidRequest: the creativity is out of its range.
    """
    preset = UPSCALE_PRESETS[mode, quality]
    if mode is UpscaleMode.CREATIVE:
        upscale = Upscale(
            long_side=LONG_SIDE_4K,
            base="" if model.paid else _choose_upscaler(preset, models),
            creativity=DEFAULT_CREATIVITY if creativity is None else creativity,
        )
        return GenerationRequest(
            task=Task.UPSCALE, model=model.id, upscale=upscale, steps=None if model.paid else preset.steps
        )
    blended = preset.second_weight if not model.paid and model.id != UPSCALER_PREFIX + LANCZOS else 0.0
    size = {"scale": 4.0} if mode is UpscaleMode.FAST else {"long_side": LONG_SIDE_4K}
    upscale = Upscale(**size, second=LANCZOS if blended else "", second_weight=blended)  # type: ignore[arg-type]
    return GenerationRequest(task=Task.UPSCALE, model=model.id, upscale=upscale)


def _choose_upscaler(preset: UpscalePreset, models: Sequence[Model]) -> str:
    here = {model.id for model in models if not model.problem}
    return next((name for name in preset.upscalers if UPSCALER_PREFIX + name in here), LANCZOS)

"""Conditioning of ComfyUI that is set to areas and combined, as areas with prompts of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.region_area import MAX_AREA_WEIGHT, MAX_AREAS, RegionArea
from studio.core.request_choices import RegionSplit
from studio.core.request_parts import ControlUnit

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class ConditionPart:
    """One text and where it counts: `box` is x, y, width and height, as fractions of the image or, with `in_pixels`, in
    px; `mask` an image's content hash. None and "": everywhere."""

    text: str
    strength: float = 1.0
    box: Box | None = None
    in_pixels: bool = False
    mask: str = ""

    @property
    def is_everywhere(self) -> bool:
        """Whether it counts in the whole image."""
        return self.box is None and not self.mask


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a link of conditioning carries."""

    parts: tuple[ConditionPart, ...]
    clip_skip: int | None = None
    units: tuple[ControlUnit, ...] = ()

    def change_parts(self, **changes: Any) -> Conditions:
        """The same with `changes` in each part."""
        return dataclasses.replace(self, parts=tuple(dataclasses.replace(part, **changes) for part in self.parts))


def place_conditions(parts: Sequence[ConditionPart], size: tuple[int, int]) -> dict[str, Any]:
    """The fields of a request of `size` px that `parts` ask for.

    ComfyUI takes at each place the mean of all predictions by their strengths. Areas do the same where their weights
    are 1 together or more, so they are raised until each is at least 1.

    Raises:
        ValueError: there are too many.
    """
    counting = [part for part in parts if part.strength > 0]
    if len(counting) <= 1 and all(part.is_everywhere for part in counting):
        return {"prompt": (counting or parts)[0].text, "regions": None, "areas": ()}
    if len(counting) > MAX_AREAS:
        raise ValueError(f"There are {len(counting)} conditionings with areas; the limit is {MAX_AREAS}.")
    strengths = [part.strength for part in counting]
    scale = min(max(1.0, 1 / min(strengths)), MAX_AREA_WEIGHT / max(strengths))
    whole = next((part for part in counting if part.is_everywhere), counting[0])
    return {
        "prompt": whole.text,
        "regions": RegionSplit.AREAS,
        "areas": tuple(_make_area(part, part.strength * scale, size) for part in counting),
    }


def _make_area(part: ConditionPart, weight: float, size: tuple[int, int]) -> RegionArea:
    x, y, width, height = part.box or (0.0, 0.0, 1.0, 1.0)
    if part.box is not None and part.in_pixels:
        x, y, width, height = x / size[0], y / size[1], width / size[0], height / size[1]
    x, y = min(x, 1.0), min(y, 1.0)
    return RegionArea(
        prompt=part.text,
        weight=weight,
        mask=part.mask or None,
        x=x,
        y=y,
        width=min(width, 1 - x),
        height=min(height, 1 - y),
    )

"""What to generate the prompts of a brief with: the model's own defaults, at a size for the platform that the brief
names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from studio.core.feature import Feature
from studio.core.model import Model
from studio.core.prompts import Brief
from studio.core.social_formats import Format, PlatformData
from studio.core.social_pack import choose_drawing_size

_NAME = re.compile(r"[^\W\d_](?:[\w-]*[^\W_])?")
_GENERAL_NAMES = {"image", "photo", "picture", "page", "post", "frame", "each"}  # which tell no format from another
_MIN_CHARS = 4  # of a name: “web” and “X” are other words too


def find_format(brief: Brief, platforms: PlatformData) -> Format | None:
    """The format of the platform that the brief names, the one whose name it says most of; None where it names none."""
    said = set(_list_names(brief.words))
    for platform in platforms.platforms():
        if said & {platform.id, *_list_names(platform.title)}:
            formats = platforms.formats(platform.id)
            return max(formats, key=lambda each: len(said.intersection(_list_names(each.name))), default=None)
    return None


def build_config(model: Model, seed: int, target: Format | None = None) -> dict[str, Any]:
    """The fields of POST /create that `model` has, at its defaults; of `target` the size."""
    width, height = choose_drawing_size(target, model.sizes) if target else model.sizes.liked[0]
    defaults = model.sampling
    fields: dict[Feature, dict[str, Any]] = {
        Feature.STEPS: {"steps": defaults.steps},
        Feature.GUIDANCE: {"guidance_scale": defaults.guidance},
        Feature.SAMPLER: {"sampler": defaults.sampler, "schedule": defaults.schedule},
        Feature.SEED: {"seed": seed},
    }
    config: dict[str, Any] = {"model": model.id, "width": width, "height": height}
    for feature, values in fields.items():
        config |= values if feature in model.features else {}
    return config


def _list_names(text: str) -> Iterable[str]:
    found = _NAME.findall(text.casefold())
    return (name for name in found if len(name) >= _MIN_CHARS and name not in _GENERAL_NAMES)

"""The arguments of the extension ADetailer, as detailers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from studio.api.dialects.automatic1111 import names
from studio.core.detailer import MAX_DETAILERS, Detailer
from studio.core.detailer_infotext import split_detailer_pairs
from studio.core.errors import InvalidRequest
from studio.core.model import Model

ADETAILER_SCRIPT = "adetailer"
_NAMES = {  # of arguments that an infotext names otherwise
    "ad_mask_k_largest": "mask only top k largest",
    "ad_inpaint_only_masked_padding": "inpaint padding",
    "ad_use_steps": "use separate steps",
    "ad_use_cfg_scale": "use separate CFG scale",
    "ad_cfg_scale": "CFG scale",
    "ad_use_checkpoint": "use separate checkpoint",
    "ad_use_sampler": "use separate sampler",
}
_DEFAULTS = {"ad_confidence": 0.3}
_UNSUPPORTED = {  # arguments without a counterpart, and what they are where nothing is asked
    "ad_restore_face": False,
    "ad_controlnet_model": "None",
    "ad_inpaint_only_masked": True,
    "ad_mask_min_ratio": 0.0,
    "ad_mask_max_ratio": 1.0,
    "ad_mask_merge_invert": "None",
    "ad_x_offset": 0,
    "ad_y_offset": 0,
    "ad_use_vae": False,
    "ad_use_clip_skip": False,
    "ad_use_noise_multiplier": False,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ADetailerUse:
    """What a call asks of the extension. With `skips_image` only the areas of the source are drawn."""

    detailers: tuple[Detailer, ...] = ()
    skips_image: bool = False
    notes: tuple[str, ...] = ()


def read_adetailer(arguments: Any, models: Sequence[Model]) -> ADetailerUse:
    """The detailers in the script's `args`: one or two booleans (on, skip img2img), then an object for each.

    Raises:
        InvalidRequest: no list, a detector without a counterpart, or a sampler that is none.
    """
    if not isinstance(arguments, list):
        raise InvalidRequest("The arguments of ADetailer are not a list.", hint="Send a list of objects.")
    given = cast("list[Any]", arguments)
    switches = [one for one in given if isinstance(one, bool)]
    if switches and not switches[0]:
        return ADetailerUse()
    tables = [cast("dict[str, Any]", one) for one in given if isinstance(one, dict)]
    on = [one for one in tables if one.get("ad_model", "None") != "None" and one.get("ad_tap_enable") is not False]
    if len(on) > MAX_DETAILERS:
        raise InvalidRequest(f"Too many detailers; the limit is {MAX_DETAILERS}.", hint="Remove some of them.")
    unsupported = sorted({name for one in on for name in _list_unsupported(one)})
    notes = (f"ADetailer: {', '.join(unsupported)} has no counterpart and was not applied.",) if unsupported else ()
    return ADetailerUse(
        detailers=tuple(_read_detailer(one, models) for one in on),
        skips_image=len(switches) > 1 and switches[1],
        notes=notes,
    )


def _list_unsupported(one: Mapping[str, Any]) -> list[str]:
    return [name for name, default in _UNSUPPORTED.items() if one.get(name, default) not in (default, None)]


def _read_detailer(one: Mapping[str, Any], models: Sequence[Model]) -> Detailer:
    filled = {**_DEFAULTS, **{name: value for name, value in one.items() if value is not None}}
    pairs = {f"ADetailer {_name_pair(name)}": str(value) for name, value in filled.items() if name.startswith("ad_")}
    found, rest = split_detailer_pairs(pairs)
    if not found:
        raise InvalidRequest(
            f"There is no counterpart to the detector {str(one.get('ad_model'))[:100]}.",
            hint="Use a detector of faces, hands or persons, or yolov8x-worldv2.pt with classes.",
        )
    for name in filled:
        pair = _name_pair(name)
        if pair in _READ and f"ADetailer {pair}" in rest:
            raise InvalidRequest(f"{name} is {str(filled[name])[:60]!r}, which is out of range.", hint="Change it.")
    return _name_as_here(found[0], models)


def _name_pair(argument: str) -> str:
    return _NAMES.get(argument, argument.removeprefix("ad_").replace("_", " "))


_READ = frozenset(spec.infotext.key.removeprefix("ADetailer ") for spec in Detailer.FIELDS if spec.infotext is not None)


def _name_as_here(detailer: Detailer, models: Sequence[Model]) -> Detailer:
    """`detailer` with this studio's names for its sampler, schedule and checkpoint."""
    changes: dict[str, Any] = {}
    if detailer.sampler is not None:
        checkpoints = names.list_checkpoints(models)
        sampler, schedule = names.parse_sampler(detailer.sampler, detailer.schedule, checkpoints)
        changes |= {"sampler": sampler, "schedule": None if schedule == "Automatic" else schedule}
    if detailer.model is not None:
        changes["model"] = names.find_checkpoint(detailer.model, models, ())
    return dataclasses.replace(detailer, **changes)

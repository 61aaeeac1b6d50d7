"""Apply the settings "save memory" and "save time" to a request, with a notice of what changed."""

from __future__ import annotations

import dataclasses

from studio.core.model import Model
from studio.core.request import GenerationRequest

QUICK_STEPS = 15  # DPM++ 2M is as good as settled by then
QUICK_HIRES_STEPS = 8
QUICK_SAMPLER = "DPM++ 2M"
# One model call a step, and settled after few steps.
_FAST_SAMPLERS = frozenset({"DPM++ 2M", "UniPC", "DEIS", "LCM", "TCD"})

MEMORY_NOTICE = "Low memory mode: images are made one at a time and decoded in tiles."
OFFLOAD_NOTICE = "Low memory mode: model parts are kept in system memory until needed."


def save_time(request: GenerationRequest, model: Model) -> tuple[GenerationRequest, str]:
    """A request that takes fewer model calls, and what was changed. `steps` of `request` is set."""
    changes: dict[str, object] = {}
    parts: list[str] = []
    steps = request.steps or model.sampling.steps
    if steps > QUICK_STEPS:
        changes["steps"] = QUICK_STEPS
        parts.append(f"{QUICK_STEPS} steps instead of {steps}")
    sampler = request.sampler or model.sampling.sampler
    if sampler not in _FAST_SAMPLERS and QUICK_SAMPLER in model.sampling.combinations:
        changes |= {"sampler": QUICK_SAMPLER, "schedule": None}
        parts.append(f"the sampler {QUICK_SAMPLER} instead of {sampler}")
    if request.hires is not None and (request.hires.steps or steps) > QUICK_HIRES_STEPS:
        changes["hires"] = dataclasses.replace(request.hires, steps=QUICK_HIRES_STEPS, sampler=None, schedule=None)
        parts.append(f"{QUICK_HIRES_STEPS} hires steps instead of {request.hires.steps or steps}")
    what = ", ".join(parts) or "no changes, the settings are already fast"
    return request.replace(**changes), f"Fast mode: {what}."

"""The texts of a request that are drawn from, in one order: prompt and negative prompt of the first pass, of the hires
pass, of each step that follows, of each detailer, and of each area, which has no negative prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from studio.core.request import GenerationRequest

_FIRST_TEXTS = 4  # of a request itself; a step has two


def list_templates(request: GenerationRequest) -> tuple[str, ...]:
    """What each text of `request` is drawn from: its template, or the text itself where there is none."""
    hires = request.hires
    return (
        request.template or request.prompt,
        request.negative_template or request.negative_prompt,
        hires.prompt if hires is not None else "",
        hires.negative_prompt if hires is not None else "",
        *(text for step in request.then for text in _list_step_templates(step)),
        *(text for one in request.detailers for text in (one.prompt, one.negative_prompt)),
        *(text for one in request.areas for text in (one.prompt, "")),
    )


def put_texts(request: GenerationRequest, texts: Sequence[str]) -> GenerationRequest:
    """`request` with drawn `texts`, in the order of `list_templates`. A negative prompt that was taken away meanwhile,
    as for a fallback model without one, stays away."""
    negative = texts[1] if request.negative_prompt or request.negative_template else ""
    changed = request.replace(prompt=texts[0], negative_prompt=negative, drawn=())
    if changed.hires is not None:
        changed = changed.replace(hires=dataclasses.replace(changed.hires, prompt=texts[2], negative_prompt=texts[3]))
    pairs = list(zip(texts[_FIRST_TEXTS::2], texts[_FIRST_TEXTS + 1 :: 2], strict=True))
    steps = zip(changed.then, pairs, strict=False)
    details = zip(changed.detailers, pairs[len(changed.then) :], strict=False)  # a fallback model may have none
    areas = zip(changed.areas, pairs[len(pairs) - len(changed.areas) :], strict=True)
    return changed.replace(
        then=tuple(step.replace(prompt=prompt, negative_prompt=negative) for step, (prompt, negative) in steps),
        detailers=tuple(
            dataclasses.replace(one, prompt=prompt, negative_prompt=negative) for one, (prompt, negative) in details
        ),
        areas=tuple(dataclasses.replace(one, prompt=prompt) for one, (prompt, _) in areas),
    )


def _list_step_templates(step: GenerationRequest) -> tuple[str, str]:
    return step.template or step.prompt, step.negative_template or step.negative_prompt

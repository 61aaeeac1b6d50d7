"""What is said of an image when it is signed: how it began, what was done to it, what it was made from.

A pure function of the asset. Prompts, titles and file names are never among it; names of models only where the file may
hold its recipe.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from studio import __version__
from studio.core.finish import Finish
from studio.core.provenance import SigningOrder
from studio.core.request import GenerationRequest
from studio.core.source_type import ENHANCED, MADE_BY_MODELS, draws_anew, draws_into, enhances
from studio.core.task import Task

PARENT_LABEL = "parent"  # of the ingredient that the first action names
_TRAINING_USES = ("cawg.ai_inference", "cawg.ai_generative_training", "cawg.ai_training", "cawg.data_mining")
_Action = dict[str, Any]


def build_definition(order: SigningOrder) -> dict[str, Any]:
    """The manifest's definition as c2pa's Builder takes it. The parent's own credentials are added to it under
    PARENT_LABEL; a parent without any is named here."""
    definition: dict[str, Any] = {
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": list(_list_actions(order))}}]
    }
    if order.training:
        use = "allowed" if order.training == "allow" else "notAllowed"
        entries = {name: {"use": use} for name in _TRAINING_USES}
        definition["assertions"].append({"label": "cawg.training-mining", "data": {"entries": entries}})
    if order.derived and not order.parent:
        definition["ingredients"] = [{"label": PARENT_LABEL, "relationship": "parentOf", "format": "image/png"}]
    return definition


def _list_actions(order: SigningOrder) -> Iterator[_Action]:
    asset = order.asset
    when = datetime.datetime.fromtimestamp(asset.created, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    steps = [asset.request.replace(then=()), *asset.request.then]
    if order.derived:
        opened: _Action = {"action": "c2pa.opened", "when": when, "parameters": {"ingredientIds": [PARENT_LABEL]}}
        if order.delivered:  # what another program did is not ours to sign, what followed in the same job is
            steps = [] if asset.source else steps[1:]
        told = not order.parent and not any(draws_into(step) or enhances(step) for step in steps)
        if told and asset.source_type in MADE_BY_MODELS:
            # The parent's, which no credentials of its own say. That a camera took it, anybody can write into a file:
            # signed, it would be proof.
            opened["digitalSourceType"] = asset.source_type
        yield opened
    else:
        yield _complete(steps[0], {"action": "c2pa.created", "digitalSourceType": asset.source_type}, order, when)
        steps = steps[1:]
    for step in steps:
        for action in _list_step_actions(step, asset.source_type):
            yield _complete(step, action, order, when)


def _complete(step: GenerationRequest, action: _Action, order: SigningOrder, when: str) -> _Action:
    """`action` with its time and the model, or else the program, that did it."""
    agent = {"name": step.model} if order.full and step.model else {"name": "Easel", "version": __version__}
    return {**{name: value for name, value in action.items() if value}, "when": when, "softwareAgent": agent}


def _list_step_actions(step: GenerationRequest, source_type: str) -> list[_Action]:
    """What one step does to an image that is there already; `source_type` is that of the result."""
    if draws_into(step) or draws_anew(step):
        return [{"action": "c2pa.edited", "digitalSourceType": source_type}]
    if step.task is Task.UPSCALE:
        return [{"action": "c2pa.resized", "digitalSourceType": ENHANCED if enhances(step) else ""}]
    if enhances(step):
        return [{"action": "c2pa.edited", "digitalSourceType": ENHANCED}]
    if step.task is Task.FINISH:
        return [{"action": name} for name in _list_finish_actions(step.finish or Finish())]
    if step.task is Task.SOCIAL:
        drawn = step.social is not None and step.social.text
        return [{"action": name} for name in ("c2pa.cropped", "c2pa.resized", *(("c2pa.edited",) if drawn else ()))]
    return [{"action": "c2pa.filtered"}]


def _list_finish_actions(finish: Finish) -> list[str]:
    one = finish.derivatives[0] if len(finish.derivatives) == 1 else None
    wanted = {
        "c2pa.cropped": finish.crop is not None or (one is not None and one.crop),
        "c2pa.resized": bool(finish.width or finish.height or (one is not None and (one.width or one.height))),
        "c2pa.edited": bool(finish.text) or (finish.watermark is not None and not _is_hidden_only(finish)),
        "c2pa.watermarked": finish.watermark is not None and bool(finish.watermark.hidden),
    }
    return [name for name, done in wanted.items() if done]


def _is_hidden_only(finish: Finish) -> bool:
    mark = finish.watermark
    return mark is not None and bool(mark.hidden) and not mark.text and not mark.image

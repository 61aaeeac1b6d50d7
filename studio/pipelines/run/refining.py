"""A refiner: another checkpoint of the same family that takes over the last part of the denoising."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core.errors import InvalidRequest
from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.pipelines.network_forward import replace_forward
from studio.pipelines.run.conditioning import Conditioning, PromptTools

if TYPE_CHECKING:
    import torch

_LAST_TIMESTEP = 999
_SIZE_IDS = 4  # of SDXL's time ids: original size and crop, which base and refiner share
_AESTHETIC_SCORES = (2.5, 6.0)  # of negative and positive, as the SDXL refiner was published with


@dataclass(frozen=True, kw_only=True)
class Refiner:
    """The pipeline that takes over, what its prompts are and are read with, and when: see `GenerationRequest`."""

    pipe: Any
    request: GenerationRequest
    switch: float
    prompts: PromptTools


def check_refiner(model: Model, refiner: Model) -> None:
    """Refuse a refiner that cannot go on with what `model` began.

    Raises:
        InvalidRequest: another family, a checkpoint that fills masks or follows instructions, or a broken one.
    """
    if refiner.problem:
        raise InvalidRequest(f"{refiner.title} cannot refine: {refiner.problem}", hint="Choose another refiner.")
    if refiner.family != model.family:
        raise InvalidRequest(
            f"{refiner.title} ({refiner.family}) cannot refine what {model.title} ({model.family}) draws.",
            hint="Choose a refiner of the same family.",
        )
    if Task.IMG2IMG not in refiner.tasks:
        raise InvalidRequest(
            f"{refiner.title} works from masks or instructions only.", hint="Choose another checkpoint as the refiner."
        )


def check_predictions(pipe: Any, refiner: Any, title: str) -> None:
    """Refuse checkpoints that predict different things, which one scheduler cannot follow.

    Raises:
        InvalidRequest: noise and velocity, for example.
    """
    kinds = [getattr(one.scheduler.config, "prediction_type", "epsilon") for one in (pipe, refiner)]
    if kinds[0] != kinds[1]:
        raise InvalidRequest(
            f"{title} predicts {kinds[1]}, the checkpoint before it {kinds[0]}.",
            hint="Choose a refiner that was trained in the same way.",
        )


@contextmanager
def switch_models(pipe: Any, refiner: Refiner, conditions: Conditioning, images: int) -> Iterator[None]:
    """Within the block, calls of `pipe`'s UNet at the end of the schedule are answered by the refiner's, which reads
    its own `conditions`. `pipe` guides, steps and decodes as before."""
    forward = _build_switching_forward(pipe.unet.forward, refiner, conditions, images)
    with conditions.apply_composition(refiner.pipe), replace_forward(pipe.unet, forward):
        yield


def _build_switching_forward(first: Any, refiner: Refiner, conditions: Conditioning, images: int) -> Any:
    calls = 0

    def forward_switched(sample: Any, timestep: Any, *, return_dict: bool = True, **rest: Any) -> Any:
        nonlocal calls
        call, calls = calls, calls + 1
        if (_LAST_TIMESTEP - round(float(timestep))) / (_LAST_TIMESTEP + 1) < refiner.switch:
            return first(sample, timestep, return_dict=return_dict, **rest)
        hidden, pooled = conditions.read_call(call, guided=sample.shape[0] == 2 * images)
        added = _build_added_conditions(refiner.pipe, rest.get("added_cond_kwargs"), pooled, images)
        return refiner.pipe.unet(
            sample, timestep, encoder_hidden_states=hidden, added_cond_kwargs=added, return_dict=return_dict
        )

    return forward_switched


def _build_added_conditions(
    pipe: Any, given: Mapping[str, Any] | None, pooled: torch.Tensor | None, images: int
) -> dict[str, Any] | None:
    """What an SDXL UNet reads beside the text: the pooled text, and sizes; the refiner takes a score of beauty in place
    of the size to draw."""
    if pooled is None or not given:
        return None
    import torch

    ids = given["time_ids"]
    if getattr(pipe.config, "requires_aesthetics_score", False):
        negative, positive = _AESTHETIC_SCORES
        rows = len(ids)
        scores = [negative] * (rows - images) + [positive] * images
        column = torch.tensor(scores, dtype=ids.dtype, device=ids.device)[:, None]
        ids = torch.cat([ids[:, :_SIZE_IDS], column], dim=1)
    return {"text_embeds": pooled, "time_ids": ids}

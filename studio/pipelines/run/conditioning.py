"""Prompts as what the UNet reads: AUTOMATIC1111's weights, long prompts, clip skip, editing and AND for every family
with CLIP encoders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core.regions import Region, list_regions
from studio.core.request import GenerationRequest
from studio.pipelines.run.composition import AreaWeight, Weight, compose_conditions
from studio.pipelines.run.encoders import Embeds, build_encoders
from studio.pipelines.run.prompt_cache import PromptCache
from studio.prompting import grammar
from studio.prompting.chunks import Chunk
from studio.prompting.emphasis import Part, Segment

if TYPE_CHECKING:
    import torch


_MAX_TOKENS = 40 * 77  # of one text, when it is repeated to the length of another


@dataclass(frozen=True)
class _State:
    """The embeddings that the UNet reads up to its call `end`, counted from 0."""

    end: int
    positive: tuple[Embeds, ...]
    negative: Embeds


class Conditioning:
    """The embeddings of one pass over `images` images, and how they change on the way.

    Several conditions (AND) lie side by side along the sequence, `composed` takes them apart again inside the UNet.
    """

    def __init__(self, pipe: Any, states: Sequence[_State], weights: tuple[Weight, ...], images: int) -> None:
        self._pipe = pipe
        self._states = tuple(states)
        self._weights = weights
        self._images = images

    def arguments(self) -> dict[str, Any]:
        """The pipeline call's keyword arguments: `prompt_embeds` and `negative_prompt_embeds`, (images, tokens, width),
        and for SDXL the two pooled ones, (images, width)."""
        hidden, pooled = self._build_positive(self._states[0])
        negative, negative_pooled = self._build_negative(self._states[0])
        found = {"prompt_embeds": hidden, "negative_prompt_embeds": negative}
        if pooled is not None:
            found |= {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": negative_pooled}
        return found

    def at_call(self, call: int, *, guided: bool | None = None) -> dict[str, Any] | None:
        """The return value of `callback_on_step_end`, called with `call` - 1, that gives the UNet's call `call` its own
        embeddings; None if they stay.

        `guided` means that the pipeline runs negative and positive as one batch; by default the pipeline decides.
        """
        state = self._find_state(call)
        if call < 1 or state is self._find_state(call - 1):
            return None
        both: bool = self._pipe.do_classifier_free_guidance if guided is None else guided
        hidden, pooled = self.read_call(call, guided=both)
        return {"prompt_embeds": hidden} if pooled is None else {"prompt_embeds": hidden, "add_text_embeds": pooled}

    def read_call(self, call: int, *, guided: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The text, and for SDXL the pooled text, that the UNet's call `call`, counted from 0, reads; with `guided` the
        negative stands before the positive."""
        state = self._find_state(call)
        hidden, pooled = self._build_positive(state)
        if not guided:
            return hidden, pooled
        import torch

        negative, negative_pooled = self._build_negative(state)
        both = torch.cat([negative_pooled, pooled]) if pooled is not None and negative_pooled is not None else None
        return torch.cat([negative, hidden]), both

    @property
    def is_composed(self) -> bool:
        """Whether several conditions lie side by side."""
        return len(self._weights) > 1

    def apply_composition(self, pipe: Any) -> AbstractContextManager[None]:
        """For the time of a run, let the UNet answer for all conditions that AND joins, by their weights. Nothing is
        left behind; with one condition nothing is done."""
        return compose_conditions(pipe.unet, self._weights, self._images) if self.is_composed else nullcontext()

    def _find_state(self, call: int) -> _State:
        return next((state for state in self._states if call <= state.end), self._states[-1])

    def _build_positive(self, state: _State) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._batch_conditions(state.positive)

    def _build_negative(self, state: _State) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._batch_conditions((state.negative,) * len(self._weights))

    def _batch_conditions(self, conditions: tuple[Embeds, ...]) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torch

        hidden = torch.cat([embeds.hidden for embeds in conditions], dim=1).repeat(self._images, 1, 1)
        pooled = [embeds.pooled for embeds in conditions if embeds.pooled is not None]
        return hidden, torch.cat(pooled, dim=1).repeat(self._images, 1) if pooled else None


def encode_prompts(
    pipe: Any,
    request: GenerationRequest,
    *,
    steps: int,
    images: int,
    first_pass: int | None = None,
    cache: PromptCache | None = None,
) -> Conditioning:
    """The conditioning of `request` for one pass of `pipe` with `steps` steps over `images` images.

    Tags are to be taken out before. Editing counts as A1111 does: calls of the UNet from 0, of which samplers of second
    order make two a step, and a text holds up to and with the call that its number names. `first_pass`, the steps of
    the pass before, makes this a hires pass whose editing counts on; without it, editing counts from this pass's own
    first step. Texts of fewer chunks than others are repeated, which changes nothing for attention; an empty negative
    prompt of an SDXL checkpoint that asks for it (`force_zeros_for_empty_prompt`) is all zeros. What the encoders read
    is kept in `cache`.

    Raises:
        InvalidRequest: a clip skip beyond the encoder's layers.
    """
    calls = getattr(pipe.scheduler, "prompt_calls", getattr(pipe.scheduler, "order", 1))
    before = None if first_pass is None else first_pass * calls
    positives = _schedule_positives(request, steps * calls, before)
    negative = grammar.schedule_prompt(request.negative_prompt, steps * calls, first_pass=before, conjunction=False)
    embedder = _Embedder(pipe, request.clip_skip, cache or PromptCache())
    zero = not request.negative_prompt.strip() and bool(getattr(pipe.config, "force_zeros_for_empty_prompt", False))
    spans = [
        (
            end,
            [
                _scale_weights(condition.parts, request.prompt_weight)
                for stages, _ in positives
                for condition in _find_stage(stages, end).conditions
            ],
            _scale_weights(_find_stage(negative, end).conditions[0].parts, request.negative_weight),
        )
        for end in sorted({stage.end for stages in (negative, *(own for own, _ in positives)) for stage in stages})
    ]
    states: list[_State] = []
    for end, conditions, against in spans:
        for_it, against_it = _align_lengths([embedder.embed(parts) for parts in conditions], embedder.embed(against))
        states.append(_State(end, for_it, against_it.to_zeros() if zero and embedder.pooled else against_it))
    return Conditioning(pipe, states, _list_weights(positives), images)


_Positive = tuple[tuple[grammar.PromptStage, ...], Region | None]
"""The stages of a prompt, and the region that it is for."""


def _schedule_positives(request: GenerationRequest, calls: int, before: int | None) -> list[_Positive]:
    """The prompt as one, or that of each region."""
    regions = list_regions(request)
    if not regions:
        return [(grammar.schedule_prompt(request.prompt, calls, first_pass=before), None)]
    return [(grammar.schedule_prompt(one.prompt, calls, first_pass=before), one) for one in regions]


def _list_weights(positives: Sequence[_Positive]) -> tuple[Weight, ...]:
    """The weight of each condition, held to its region."""
    weights: list[Weight] = []
    for stages, region in positives:
        own = [condition.weight for condition in stages[0].conditions]
        if region is not None:
            area = (region.left, region.top, region.right, region.bottom)
            weights += [AreaWeight(weight * region.weight, area) for weight in own]
        else:
            weights += own
    return tuple(weights)


class _Embedder:
    """All text encoders of a pipeline as one, each text read once."""

    def __init__(self, pipe: Any, clip_skip: int | None, cache: PromptCache) -> None:
        self._encoders = build_encoders(pipe, clip_skip, cache)
        self._embedded: dict[tuple[Part, ...], Embeds] = {}
        self.pooled = any(encoder.pools for encoder in self._encoders)

    def embed(self, parts: tuple[Part, ...]) -> Embeds:
        """The text in as many chunks as it takes; the encoders' widths side by side, pooled from the first chunk."""
        import torch

        if parts not in self._embedded:
            chunked = [encoder.chunks(parts) for encoder in self._encoders]
            length = max(map(len, chunked))
            read = [
                [encoder.read(chunk) for chunk in (chunks + [Chunk()] * length)[:length]]
                for encoder, chunks in zip(self._encoders, chunked, strict=True)
            ]
            rows = [torch.cat([embeds.hidden for embeds in row], dim=1) for row in read]
            hidden = torch.cat([row.to(rows[-1].dtype) for row in rows], dim=-1)
            self._embedded[parts] = Embeds(hidden, read[-1][0].pooled)
        return self._embedded[parts]


def _align_lengths(conditions: Sequence[Embeds], against: Embeds) -> tuple[tuple[Embeds, ...], Embeds]:
    """Conditions and negative with the same number of tokens. Of conditions that AND joins the shorter ones are filled
    up with their last token, as A1111 does; then everything is repeated whole, which attention does not notice, or, of
    very many chunks, filled up with its beginning."""
    import torch

    longest = max(embeds.hidden.shape[1] for embeds in conditions)
    length = math.lcm(longest, against.hidden.shape[1])
    if length > _MAX_TOKENS:
        length = max(longest, against.hidden.shape[1])

    def repeat(embeds: Embeds) -> Embeds:
        times = -(-length // embeds.hidden.shape[1])
        return Embeds(embeds.hidden.repeat(1, times, 1)[:, :length], embeds.pooled)

    filled = [
        Embeds(
            torch.cat([one.hidden, one.hidden[:, -1:].expand(-1, longest - one.hidden.shape[1], -1)], dim=1), one.pooled
        )
        for one in conditions
    ]
    return tuple(map(repeat, filled)), repeat(against)


def _find_stage(stages: tuple[grammar.PromptStage, ...], end: int) -> grammar.PromptStage:
    return next(stage for stage in stages if end <= stage.end)


def _scale_weights(parts: tuple[Part, ...], factor: float) -> tuple[Part, ...]:
    """The text as if it stood in `( … :factor)`."""
    if factor == 1:
        return parts
    return tuple(tuple(Segment(segment.text, segment.weight * factor) for segment in part) for part in parts)

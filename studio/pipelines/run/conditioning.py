"""Prompts as what the UNet reads: AUTOMATIC1111's weights, long prompts, clip skip, editing and AND for every family
with CLIP encoders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core.request import GenerationRequest
from studio.pipelines.run.composition import compose_conditions
from studio.pipelines.run.encoders import Embeds, build_encoders
from studio.pipelines.run.prompt_cache import PromptCache
from studio.prompting import grammar
from studio.prompting.chunks import Chunk
from studio.prompting.emphasis import Part, Segment

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _State:
    """The embeddings that the UNet reads until `end` steps are done."""

    end: int
    positive: tuple[Embeds, ...]
    negative: Embeds


class Conditioning:
    """The embeddings of one pass over `images` images, and how they change on the way.

    Several conditions (AND) lie side by side along the sequence, `composed` takes them apart again inside the UNet.
    """

    def __init__(self, pipe: Any, states: Sequence[_State], weights: tuple[float, ...], images: int) -> None:
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

    def at_step(self, step: int, *, guided: bool | None = None) -> dict[str, Any] | None:
        """The return value of `callback_on_step_end`, called with `step` - 1, that gives `step` its own embeddings;
        None if they stay.

        `guided` means that the pipeline runs negative and positive as one batch; by default the pipeline decides. Of a
        sampler that calls the UNet twice per step, both calls belong to the same step of the prompt.
        """
        order = getattr(self._pipe.scheduler, "order", 1)
        state = self._find_state(step // order)
        if step < 1 or state is self._find_state((step - 1) // order):
            return None
        hidden, pooled = self._build_positive(state)
        if self._pipe.do_classifier_free_guidance if guided is None else guided:
            import torch

            negative, negative_pooled = self._build_negative(state)
            hidden = torch.cat([negative, hidden])
            pooled = (
                torch.cat([negative_pooled, pooled]) if pooled is not None and negative_pooled is not None else None
            )
        return {"prompt_embeds": hidden} if pooled is None else {"prompt_embeds": hidden, "add_text_embeds": pooled}

    def apply_composition(self, pipe: Any) -> AbstractContextManager[None]:
        """For the time of a run, let the UNet answer for all conditions that AND joins, by their weights. Nothing is
        left behind; with one condition nothing is done."""
        return compose_conditions(pipe.unet, self._weights, self._images) if len(self._weights) > 1 else nullcontext()

    def _find_state(self, step: int) -> _State:
        return next((state for state in self._states if step < state.end), self._states[-1])

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

    LoRA tags are to be taken out before. `first_pass`, the steps of the pass before, makes this a hires pass whose
    editing counts on as A1111's does; without it, editing counts from this pass's own first step. All conditions get
    the same number of chunks; an empty negative prompt of an SDXL checkpoint that asks for it
    (`force_zeros_for_empty_prompt`) is all zeros. What the encoders read is kept in `cache`.

    Raises:
        InvalidRequest: a clip skip beyond the encoder's layers.
    """
    positive = grammar.schedule_prompt(request.prompt, steps, first_pass=first_pass)
    negative = grammar.schedule_prompt(request.negative_prompt, steps, first_pass=first_pass, conjunction=False)
    embedder = _Embedder(pipe, request.clip_skip, cache or PromptCache())
    zero = not request.negative_prompt.strip() and bool(getattr(pipe.config, "force_zeros_for_empty_prompt", False))
    spans = [
        (
            end,
            [
                _scale_weights(condition.parts, request.prompt_weight)
                for condition in _find_stage(positive, end).conditions
            ],
            _scale_weights(_find_stage(negative, end).conditions[0].parts, request.negative_weight),
        )
        for end in sorted({stage.end for stage in (*positive, *negative)})
    ]
    length = max(embedder.chunks(parts) for _, conditions, against in spans for parts in (*conditions, against))
    states: list[_State] = []
    for end, conditions, against in spans:
        for_it = tuple(embedder.embed(parts, length) for parts in conditions)
        against_it = embedder.embed(against, length)
        states.append(_State(end, for_it, against_it.to_zeros() if zero and embedder.pooled else against_it))
    return Conditioning(pipe, states, tuple(condition.weight for condition in positive[0].conditions), images)


class _Embedder:
    """All text encoders of a pipeline as one, each text read once."""

    def __init__(self, pipe: Any, clip_skip: int | None, cache: PromptCache) -> None:
        self._encoders = build_encoders(pipe, clip_skip, cache)
        self._chunked: dict[tuple[Part, ...], list[list[Chunk]]] = {}
        self._embedded: dict[tuple[tuple[Part, ...], int], Embeds] = {}
        self.pooled = any(encoder.pools for encoder in self._encoders)

    def chunks(self, parts: tuple[Part, ...]) -> int:
        """How many chunks the text takes."""
        if parts not in self._chunked:
            self._chunked[parts] = [encoder.chunks(parts) for encoder in self._encoders]
        return max(map(len, self._chunked[parts]))

    def embed(self, parts: tuple[Part, ...], length: int) -> Embeds:
        """The text as `length` chunks, the missing ones empty; the encoders' widths side by side, pooled from the first
        chunk."""
        import torch

        if (parts, length) not in self._embedded:
            self.chunks(parts)
            read = [
                [encoder.read(chunk) for chunk in (chunks + [Chunk()] * length)[:length]]
                for encoder, chunks in zip(self._encoders, self._chunked[parts], strict=True)
            ]
            rows = [torch.cat([embeds.hidden for embeds in row], dim=1) for row in read]
            hidden = torch.cat([row.to(rows[-1].dtype) for row in rows], dim=-1)
            self._embedded[parts, length] = Embeds(hidden, read[-1][0].pooled)
        return self._embedded[parts, length]


def _find_stage(stages: tuple[grammar.PromptStage, ...], end: int) -> grammar.PromptStage:
    return next(stage for stage in stages if end <= stage.end)


def _scale_weights(parts: tuple[Part, ...], factor: float) -> tuple[Part, ...]:
    """The text as if it stood in `( … :factor)`."""
    if factor == 1:
        return parts
    return tuple(tuple(Segment(segment.text, segment.weight * factor) for segment in part) for part in parts)

"""Prompts as what the UNet reads: AUTOMATIC1111's weights, long prompts, clip skip, editing and AND for every family
with CLIP encoders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.regions import list_regions
from studio.core.request import GenerationRequest
from studio.core.request_choices import RegionMode, RegionSplit
from studio.pipelines.run.composition import AreaWeight, Weight, compose_conditions
from studio.pipelines.run.encoders import Embeds, build_encoders
from studio.pipelines.run.prompt_cache import PromptCache
from studio.pipelines.run.region_loras import RegionLoras
from studio.pipelines.run.region_maps import RegionMaps
from studio.pipelines.run.regional_attention import attend_to_regions
from studio.pipelines.run.source_images import Part as ImagePart
from studio.prompting import grammar
from studio.prompting.chunks import Chunk
from studio.prompting.emphasis import Part, Segment
from studio.prompting.networks import remove_tags

if TYPE_CHECKING:
    import torch


_MAX_TOKENS = 40 * 77  # of one text, when it is repeated to the length of another


@dataclass(frozen=True, kw_only=True)
class PromptTools:
    """What the prompts of a pass are read with: `cache` keeps what the encoders read, `load_image` gives the mask of a
    content hash, `part` is what is drawn, where that is a part of the image alone, and `loras` are those of regions."""

    cache: PromptCache = field(default_factory=PromptCache)
    load_image: Callable[[str], Image.Image] | None = None
    part: ImagePart | None = None
    loras: RegionLoras | None = None


@dataclass(frozen=True)
class _State:
    """The embeddings that the UNet reads up to its call `end`, counted from 0."""

    end: int
    positive: tuple[Embeds, ...]
    negative: Embeds


class Conditioning:
    """The embeddings of one pass over `images` images, and how they change on the way.

    Several conditions (AND, regions) lie side by side along the sequence and are taken apart again inside the UNet: for
    regions with `attends` in its attention.
    """

    def __init__(
        self,
        pipe: Any,
        states: Sequence[_State],
        weights: tuple[Weight, ...],
        images: int,
        *,
        attends: bool = False,
        loras: RegionLoras | None = None,
    ) -> None:
        self._pipe = pipe
        self._states = tuple(states)
        self._weights = weights
        self._images = images
        self._attends = attends
        self._loras = loras

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
        """For the time of a run, let the UNet answer for all conditions that AND joins, by their weights, or read those
        of regions in their places. Nothing is left behind; with one condition nothing is done."""
        if not self.is_composed:
            return self._put_on_loras()
        if self._attends:
            areas = [weight for weight in self._weights if isinstance(weight, AreaWeight)]
            return attend_to_regions(pipe.unet, areas[0].maps, [area.region for area in areas])
        return compose_conditions(pipe.unet, self._weights, self._images, self._loras)

    def _put_on_loras(self) -> AbstractContextManager[None]:
        """The LoRAs of the only region that there is."""
        only = self._weights[0]
        return self._loras.put_on(only.region) if self._loras and isinstance(only, AreaWeight) else nullcontext()

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
    tools: PromptTools | None = None,
) -> Conditioning:
    """The conditioning of `request` for one pass of `pipe` with `steps` steps over `images` images.

    Tags are to be taken out before. Editing counts as A1111 does: calls of the UNet from 0, of which samplers of second
    order make two a step, and a text holds up to and with the call that its number names. `first_pass`, the steps of
    the pass before, makes this a hires pass whose editing counts on; without it, editing counts from this pass's own
    first step. Texts of fewer chunks than others are repeated, which changes nothing for attention; an empty negative
    prompt of an SDXL checkpoint that asks for it (`force_zeros_for_empty_prompt`) is all zeros.

    Raises:
        InvalidRequest: a clip skip beyond the encoder's layers.
    """
    tools = tools or PromptTools()
    calls = getattr(pipe.scheduler, "prompt_calls", getattr(pipe.scheduler, "order", 1))
    before = None if first_pass is None else first_pass * calls
    maps = _draw_regions(request, tools)
    positives = _schedule_positives(request, maps, steps * calls, before)
    negative = grammar.schedule_prompt(request.negative_prompt, steps * calls, first_pass=before, conjunction=False)
    embedder = _RegionEmbedder(pipe, request.clip_skip, tools)
    zero = not request.negative_prompt.strip() and bool(getattr(pipe.config, "force_zeros_for_empty_prompt", False))
    spans = [
        (
            end,
            [
                (_scale_weights(condition.parts, request.prompt_weight), region)
                for stages, region in positives
                for condition in _find_stage(stages, end).conditions
            ],
            _scale_weights(_find_stage(negative, end).conditions[0].parts, request.negative_weight),
        )
        for end in sorted({stage.end for stages in (negative, *(own for own, _ in positives)) for stage in stages})
    ]
    only = positives[0][1] if len(positives) == 1 else None  # its LoRAs are on for the whole call
    states: list[_State] = []
    for end, conditions, against in spans:
        read = [embedder.embed(*each) for each in conditions]
        for_it, against_it = _align_lengths(read, embedder.embed(against, only))
        states.append(_State(end, for_it, against_it.to_zeros() if zero and embedder.pooled else against_it))
    attends = maps is not None and request.region_mode is RegionMode.ATTENTION
    weights = _list_weights(positives, maps)
    return Conditioning(pipe, states, weights, images, attends=attends, loras=tools.loras)


_Positive = tuple[tuple[grammar.PromptStage, ...], int]
"""The stages of a prompt, and the number of the region that it is for, 0 for the whole image."""


def _draw_regions(request: GenerationRequest, tools: PromptTools) -> RegionMaps | None:
    """The maps of the regions, None without any. Areas lie in the whole image, columns and rows in what is drawn."""
    if request.regions is None:
        return None
    part = tools.part if request.regions is RegionSplit.AREAS else None
    return RegionMaps(list_regions(request), tools.load_image, part)


def _schedule_positives(
    request: GenerationRequest, maps: RegionMaps | None, calls: int, before: int | None
) -> list[_Positive]:
    """The prompt as one, or that of each region."""
    if maps is None:
        return [(grammar.schedule_prompt(request.prompt, calls, first_pass=before), 0)]
    regions = list_regions(request)
    return [
        (grammar.schedule_prompt(remove_tags(regions[number].prompt), calls, first_pass=before), number)
        for number in maps.list_counting()
    ]


def _list_weights(positives: Sequence[_Positive], maps: RegionMaps | None) -> tuple[Weight, ...]:
    """The weight of each condition, held to its region."""
    weights: list[Weight] = []
    for stages, region in positives:
        own = [condition.weight for condition in stages[0].conditions]
        weights += own if maps is None else [AreaWeight(weight, maps, region) for weight in own]
    return tuple(weights)


class _RegionEmbedder:
    """The text encoders, with the LoRAs of the region whose text it is."""

    def __init__(self, pipe: Any, clip_skip: int | None, tools: PromptTools) -> None:
        self._pipe = pipe
        self._clip_skip = clip_skip
        self._loras = tools.loras
        self._whole = _Embedder(pipe, clip_skip, tools.cache)
        self._own: dict[int, _Embedder] = {}
        self.pooled = self._whole.pooled

    def embed(self, parts: tuple[Part, ...], region: int | None = None) -> Embeds:
        """As `_Embedder.embed`; what is read with the LoRAs of a region is not kept for other passes."""
        if self._loras is None or self._loras.is_alike(region, None):
            return self._whole.embed(parts)
        assert region is not None
        if region not in self._own:
            self._own[region] = _Embedder(self._pipe, self._clip_skip, PromptCache())
        with self._loras.put_on(region):
            return self._own[region].embed(parts)


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

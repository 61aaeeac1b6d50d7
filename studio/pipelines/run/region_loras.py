"""LoRAs that work in one region of an image alone: adapters whose weights change between calls of the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.regions import list_regions
from studio.core.request import GenerationRequest, LoraUse
from studio.core.request_choices import RegionMode, RegionSplit
from studio.core.weights import WeightFile
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.run.lora import LoraAdapters, is_merged
from studio.prompting.networks import extract_loras, move_tags_to_loras

Uses = tuple[LoraUse, ...]


@dataclass(frozen=True, kw_only=True)
class RegionLoras:
    """The LoRAs of each region on `pipe`: `general` are all LoRAs that `adapters` has put on, with their weights for
    the whole image, `uses` the same with their weights in each region, by its number."""

    pipe: Any
    adapters: LoraAdapters
    general: Uses
    uses: tuple[Uses, ...]

    def is_alike(self, one: int | None, other: int | None) -> bool:
        """Whether two regions have the same LoRAs; None stands for the whole image."""
        first, second = (self.general if region is None else self.uses[region] for region in (one, other))
        return first == second

    @contextmanager
    def put_on(self, region: int | None) -> Iterator[None]:
        """Within the block networks and text encoders run with the LoRAs of `region`; None: those of the whole
        image."""
        if region is None:
            yield
            return
        self.adapters.set_weights(self.pipe, self.uses[region])
        try:
            yield
        finally:
            self.adapters.set_weights(self.pipe, self.general)


def move_region_tags(request: GenerationRequest) -> tuple[GenerationRequest, tuple[Uses, ...]]:
    """(`request` with the tags of its prompt moved into `loras`, where they hold for the whole image; those of each
    region, by its number, () where none has its own).

    Of columns and rows in the mode Latent only the LoRAs that every part names move there: those of the common part,
    and those that an infotext wrote behind each.

    Raises:
        InvalidRequest: a weight that is no number or out of range, or parts that do not fit the regions.
    """
    if request.regions is RegionSplit.AREAS:
        found = ((), *(extract_loras(area.prompt)[1] for area in request.areas))
        return move_tags_to_loras(request), found if any(found) else ()
    text, uses = extract_loras(request.prompt)
    if not uses or request.regions is None or request.region_mode is RegionMode.ATTENTION:
        return move_tags_to_loras(request), ()
    found = tuple(extract_loras(region.prompt)[1] for region in list_regions(request))
    shared = tuple(use for use in found[0] if all(use in uses for uses in found))
    own = tuple(tuple(use for use in uses if use not in shared) for uses in found)
    loras = {use.name: use for use in (*request.loras, *shared)}
    return request.replace(prompt=text, loras=tuple(loras.values())), own if any(own) else ()


def merge_region_loras(general: Uses, own: Sequence[Uses]) -> tuple[Uses, tuple[Uses, ...]]:
    """(all LoRAs with their weights for the whole image, 0 for those of one region; the same for each region). In a
    region its own tag wins over a LoRA of the same name."""
    if not own:
        return general, ()
    known = {_get_key(use): use for use in general}
    for use in (use for uses in own for use in uses):
        known.setdefault(_get_key(use), _silence(use))
    everywhere = tuple(known.values())

    def choose(uses: Uses) -> Uses:
        chosen = {_get_key(use): use for use in uses}
        names = {use.name for use in uses}
        return tuple(chosen.get(_get_key(use), _silence(use) if use.name in names else use) for use in everywhere)

    return everywhere, tuple(choose(uses) for uses in own)


def check_region_loras(
    request: GenerationRequest, own: Sequence[Uses], loras: Sequence[tuple[WeightFile, LoraUse]]
) -> None:
    """Refuse LoRAs of single regions, `own`, where they cannot be kept apart; `loras` are the files of all.

    Raises:
        InvalidRequest: another region mode, a ControlNet beside it, or a LoRA whose weights are merged.
    """
    if not own:
        return
    if request.region_mode is RegionMode.ATTENTION:
        raise InvalidRequest(
            "LoRAs in the prompts of areas need the region mode Latent.",
            hint="Choose it, or move the LoRA to the prompt, where it works in the whole image.",
        )
    if request.control:
        raise InvalidRequest(
            "LoRAs of single regions cannot be combined with ControlNet.",
            hint=f"Switch the control units off, or {_describe_move(request)}, where it works in the whole image.",
        )
    keys = {_get_key(use) for uses in own for use in uses}
    for file, use in loras:
        if _get_key(use) in keys and is_merged(read_header(file.path), use):
            raise InvalidRequest(
                f"The LoRA {file.name} is of a kind that works in the whole image only.",
                hint=f"Instead, {_describe_move(request)}.",
                details={"lora": file.name},
            )


def _describe_move(request: GenerationRequest) -> str:
    """How a LoRA of one region is given to the whole image."""
    if request.regions is RegionSplit.AREAS:
        return "move the LoRA to the prompt"
    return "choose it in the LoRA fields"


def _get_key(use: LoraUse) -> tuple[str, str]:
    return use.name, use.blocks


def _silence(use: LoraUse) -> LoraUse:
    return dataclasses.replace(use, weight=0.0, encoder_weight=None)

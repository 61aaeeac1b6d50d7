"""LoRAs that work in one region of an image alone: adapters whose weights change between calls of the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest, LoraUse
from studio.core.request_choices import RegionMode, RegionSplit
from studio.core.weights import WeightFile
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.run.lora import LoraAdapters, is_merged
from studio.prompting.networks import extract_loras

Uses = tuple[LoraUse, ...]


@dataclass(frozen=True, kw_only=True)
class RegionLoras:
    """The LoRAs of each region on `pipe`: `uses` has, by the number of the region, all LoRAs that `adapters` has put
    on, with their weights there."""

    pipe: Any
    adapters: LoraAdapters
    uses: tuple[Uses, ...]

    def is_alike(self, one: int | None, other: int | None) -> bool:
        """Whether two regions have the same LoRAs; None stands for the whole image."""
        first, second = (self.uses[0 if region is None else region] for region in (one, other))
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
            self.adapters.set_weights(self.pipe, self.uses[0])


def list_region_loras(request: GenerationRequest) -> tuple[Uses, ...]:
    """What the tags in the prompt of each area say; () where there are none."""
    if request.regions is not RegionSplit.AREAS:
        return ()
    found = tuple(extract_loras(area.prompt)[1] for area in request.areas)
    return found if any(found) else ()


def merge_region_loras(general: Uses, own: Sequence[Uses]) -> tuple[Uses, tuple[Uses, ...]]:
    """(all LoRAs with their weights for the whole image, 0 for those of one region; the same for each region, of which
    the first is the rest of the image). In a region its own tag wins over a LoRA of the same name."""
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

    return everywhere, (everywhere, *(choose(uses) for uses in own))


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
            "LoRAs in the prompts of areas cannot be combined with ControlNet.",
            hint="Switch the control units off, or move the LoRA to the prompt, where it works in the whole image.",
        )
    keys = {_get_key(use) for uses in own for use in uses}
    for file, use in loras:
        if _get_key(use) in keys and is_merged(read_header(file.path), use):
            raise InvalidRequest(
                f"The LoRA {file.name} is of a kind that works in the whole image only.",
                hint="Move it to the prompt.",
                details={"lora": file.name},
            )


def _get_key(use: LoraUse) -> tuple[str, str]:
    return use.name, use.blocks


def _silence(use: LoraUse) -> LoraUse:
    return dataclasses.replace(use, weight=0.0, encoder_weight=None)

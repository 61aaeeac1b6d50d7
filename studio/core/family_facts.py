"""Compatibility of a model family with ControlNets, adapters, LoRAs and embeddings. Each family states its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightKind


def _detect_nothing(header: SafetensorsHeader) -> None:
    return None


def _detect_no_lora(header: SafetensorsHeader, names: str) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class ControlFacts:
    """How a family takes ControlNets, T2I-Adapters and IP-Adapters. The default takes none.

    `in_unet`: what a unit adds is an argument of the UNet, so any pipeline of the family can be steered. All other
    families name diffusers' ControlNet `pipelines` by the task that is drawn, the `network_class` of one ControlNet,
    and the `multi_class` that holds several. `max_units` may act together; without `has_range` a unit acts from the
    first step to the last. `union_types` are the places of the control types in the family's union ControlNets, which
    the pipeline takes where `has_union_argument`. `borrowed_parts` are attributes that the pipeline lends its
    ControlNet from the transformer and that must be freed afterwards.

    Files: `text_widths` are the widths of the text states that the UNet's cross-attention reads; `has_other_widths`
    is set where models of the same build exist in other widths. `detect` gives kind and problem ("" if none)
    of a single file that only this family can have made; `build_config` the config of a single ControlNet file,
    `is_original` means that diffusers reads such a file itself. `adapter_downscale` is how far a T2I-Adapter folds
    pixels. `has_ip_adapters` means that reference images are taken.
    """

    in_unet: bool = False
    pipelines: Mapping[Task, str] = field(default_factory=dict[Task, str])
    network_class: str = ""
    multi_class: str = ""
    max_units: int = 8
    has_range: bool = True
    union_types: Mapping[str, int] = field(default_factory=dict[str, int])
    has_union_argument: bool = False
    borrowed_parts: tuple[str, ...] = ()
    text_widths: tuple[int, ...] = ()
    has_other_widths: bool = False
    detect: Callable[[SafetensorsHeader], tuple[WeightKind, str] | None] = _detect_nothing
    build_config: Callable[[SafetensorsHeader], Mapping[str, Any]] | None = None
    is_original: bool = False
    adapter_downscale: int = 0
    has_ip_adapters: bool = False

    @property
    def is_steerable(self) -> bool:
        """Whether ControlNets exist for the family at all."""
        return self.in_unet or bool(self.pipelines)

    def can_steer(self, drawn_as: Task) -> bool:
        """Whether ControlNets act where text, an image or a mask (`drawn_as`) is drawn from."""
        return self.in_unet or drawn_as in self.pipelines


@dataclass(frozen=True, kw_only=True)
class AddOnFacts:
    """How files that were made for a family are recognised.

    `detect_lora` knows the family's LoRAs by their header; it is given all names of tensors too, as one text with a
    line break before each. Where that says nothing, the width of the text states decides. `embedding_width` is that of
    its textual inversions, `embedding_names` are tensors that only those have. `vae_channels` are latent channels that
    no other family's VAE has.
    """

    detect_lora: Callable[[SafetensorsHeader, str], bool] = _detect_no_lora
    embedding_width: int = 0
    embedding_names: tuple[str, ...] = ()
    vae_channels: int = 0

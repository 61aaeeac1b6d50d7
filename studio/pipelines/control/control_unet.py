"""ControlNets and T2I-Adapters on a UNet: what they add is worked out inside its call, so that every pipeline around it
is steered.

diffusers' ControlNet pipelines say "control" or "prompt" for all units at once, know no T2I-Adapter beside a
ControlNet, no union ControlNet beside a plain one, and no AND. Here each unit has its own mode, start and end; and
since AND is put around the UNet later, every condition that it joins asks the ControlNet for itself. With one balanced
unit the images are, bit for bit, those of the ControlNet pipeline.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.core.errors import InvalidRequest
from studio.core.request_parts import ControlMode
from studio.pipelines.control.control_units import ResolvedUnit
from studio.pipelines.network_forward import replace_forward

if TYPE_CHECKING:
    import torch
    from PIL import Image

SOFT_DECAY = (
    0.825  # a block's weight against that of the next deeper one, where the prompt matters more (sd-webui-controlnet)
)
_ADAPTER_SOFT_WEIGHTS = (0.25, 0.62, 0.825, 1.0)  # the same for the levels of a T2I-Adapter


@dataclass
class LoadedUnit:
    """One unit with its network and its map, RGB of the size that is drawn."""

    chosen: ResolvedUnit
    module: Any
    map: Image.Image
    _condition: torch.Tensor | None = field(default=None, repr=False)
    _embedding: list[torch.Tensor] = field(default_factory=list["torch.Tensor"], repr=False)
    _features: list[torch.Tensor] | None = field(default=None, repr=False)

    @property
    def is_conditional_only(self) -> bool:
        """Whether it acts on the prompt's side of the guidance alone; ControlNets that pool over the image always
        do."""
        pools = bool(getattr(self.module.config, "global_pool_conditions", False))
        return pools or self.chosen.unit.mode is ControlMode.CONTROL

    def is_active(self, step: int, steps: int) -> bool:
        """Whether `step` of `steps` lies between its start and end, by the rule of diffusers' pipelines."""
        unit = self.chosen.unit
        return not (step / steps < unit.start or (step + 1) / steps > unit.end)

    def get_condition(self, sample: torch.Tensor) -> torch.Tensor:
        """The map, (1, 3, height, width) in 0 to 1, where and in which format `sample` is."""
        if self._condition is None:
            self._condition = _image_to_tensor(self.map).to(sample.device, sample.dtype)
        return self._condition

    def compute_residuals(self, rows: UNetInputs) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The residuals of a ControlNet: for each output of the UNet's way down, and for its middle."""
        unit = self.chosen.unit
        soft = unit.mode is not ControlMode.BALANCED
        sample = rows.sample[:, : self.module.config.in_channels]
        pixels = self.get_condition(sample).expand(len(sample), -1, -1, -1)
        scale = 1.0 if soft else unit.weight
        arguments: dict[str, Any] = {"controlnet_cond": pixels, "conditioning_scale": scale}
        if self.chosen.union_type is not None:
            types = sample.new_zeros((len(sample), self.module.config.num_control_type))
            types[:, self.chosen.union_type] = 1
            arguments = {
                "controlnet_cond": [pixels],
                "conditioning_scale": [scale],
                "control_type": types,
                "control_type_idx": [self.chosen.union_type],
            }
        with _cache_embedding(self.module.controlnet_cond_embedding, self._embedding):
            down, middle = self.module(
                sample,
                rows.timestep,
                encoder_hidden_states=rows.text,
                added_cond_kwargs=rows.added,
                return_dict=False,
                **arguments,
            )
        if not soft:
            return list(down), middle
        depth = len(down)
        softened = [block * (unit.weight * SOFT_DECAY ** (depth - place)) for place, block in enumerate(down)]
        return softened, middle * unit.weight

    def features(self) -> list[torch.Tensor]:
        """The residuals of a T2I-Adapter for each level of the UNet's way down, (1, channels, height, width); computed
        once."""
        if self._features is None:
            import torch

            unit, grey = self.chosen.unit, self.module.config.in_channels == 1
            pixels = (
                _image_to_tensor(self.map.convert("L").convert("RGB"))[:, :1] if grey else _image_to_tensor(self.map)
            )
            with torch.inference_mode():
                levels = self.module(pixels.to(self.module.device, self.module.dtype))
                soft = (
                    _ADAPTER_SOFT_WEIGHTS[-len(levels) :]
                    if unit.mode is not ControlMode.BALANCED
                    else (1.0,) * len(levels)
                )
                self._features = [level * (unit.weight * share) for level, share in zip(levels, soft, strict=True)]
        return self._features


@dataclass(frozen=True)
class UNetInputs:
    """A part of one call of the UNet: latents (n, channels, h, w), text states (n, tokens, width), SDXL's added
    conditions."""

    sample: torch.Tensor
    timestep: Any
    text: torch.Tensor
    added: dict[str, Any] | None

    def after(self, first: int) -> UNetInputs:
        """Without the first rows."""
        if not first:
            return self
        added = {key: value[first:] for key, value in self.added.items()} if self.added else self.added
        timestep = self.timestep[first:] if getattr(self.timestep, "ndim", 0) else self.timestep
        return UNetInputs(self.sample[first:], timestep, self.text[first:], added)


@contextmanager
def apply_units(pipe: Any, units: Sequence[LoadedUnit], images: int) -> Iterator[None]:
    """Within the block the UNet of `pipe`, a view of this run alone, is steered by `units`. `images` are drawn
    together.

    Raises:
        InvalidRequest: a network that was made for another UNet or VAE.
    """
    if not units:
        yield
        return
    for one in units:
        _check_shape(pipe, one)
    with replace_forward(pipe.unet, _Forward(pipe, units, images, pipe.unet.forward)):
        yield


class _Forward:
    """The UNet's call with the units in it. Steps are counted by what the scheduler is given: guidance by attention and
    regions with LoRAs of their own call the UNet several times in a step."""

    def __init__(self, pipe: Any, units: Sequence[LoadedUnit], images: int, forward: Any) -> None:
        self._pipe = pipe
        self._nets = [one for one in units if not one.chosen.is_adapter]
        self._adapters = [one for one in units if one.chosen.is_adapter]
        self._images = images
        self._forward = forward
        self._steps_done = 0
        step = pipe.scheduler.step

        @functools.wraps(step)  # pipelines look at the signature
        def count_step(*args: Any, **kwargs: Any) -> Any:
            self._steps_done += 1
            return step(*args, **kwargs)

        pipe.scheduler.step = count_step

    def __call__(
        self, sample: Any, timestep: Any, *, encoder_hidden_states: Any, added_cond_kwargs: Any = None, **rest: Any
    ) -> Any:
        step, steps = self._count_step()
        ours = {k: v for k, v in (added_cond_kwargs or {}).items() if k in ("text_embeds", "time_ids")} or None
        rows = UNetInputs(sample, timestep, encoder_hidden_states, ours)
        against = self._images if self._pipe.do_classifier_free_guidance else 0
        nets = [self._compute_residuals(one, rows, against) for one in self._nets if one.is_active(step, steps)]
        if nets:
            down, middle = nets[0]
            for more, deeper in nets[1:]:
                down, middle = [a + b for a, b in zip(down, more, strict=True)], middle + deeper
            rest |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        levels = [self._compute_levels(one, sample, against) for one in self._adapters if one.is_active(step, steps)]
        if levels:
            rest["down_intrablock_additional_residuals"] = [sum(parts) for parts in zip(*levels, strict=True)]
        return self._forward(
            sample, timestep, encoder_hidden_states=encoder_hidden_states, added_cond_kwargs=added_cond_kwargs, **rest
        )

    def _count_step(self) -> tuple[int, int]:
        """The number of this step, from 0, and of all; thousandths where the sampler chooses its steps by itself."""
        steps = self._pipe.num_timesteps
        step = self._steps_done % steps
        share = getattr(self._pipe.scheduler, "share_done", None)
        return (step, steps) if share is None else (int(share * 1000), 1000)

    @staticmethod
    def _compute_residuals(one: LoadedUnit, rows: UNetInputs, against: int) -> tuple[list[Any], Any]:
        if not one.is_conditional_only or not against:
            return one.compute_residuals(rows)
        down, middle = one.compute_residuals(rows.after(against))
        return [_prepend_zeros(block, against) for block in down], _prepend_zeros(middle, against)

    @staticmethod
    def _compute_levels(one: LoadedUnit, sample: Any, against: int) -> list[Any]:
        levels = [level.to(sample) for level in one.features()]
        if not one.is_conditional_only or not against:
            return [level.expand(len(sample), -1, -1, -1) for level in levels]
        return [_prepend_zeros(level.expand(len(sample) - against, -1, -1, -1), against) for level in levels]


@contextmanager
def _cache_embedding(embedding: Any, kept: list[torch.Tensor]) -> Iterator[None]:
    """Within the block a ControlNet's `embedding` of the map, the same at every step and in every row, is worked out
    only if `kept` does not have it yet."""
    forward = embedding.forward

    def embed_once(pixels: torch.Tensor) -> torch.Tensor:
        if not kept:
            kept.append(forward(pixels[:1]))
        return kept[0].expand(len(pixels), -1, -1, -1)

    with replace_forward(embedding, embed_once):
        yield


def _prepend_zeros(block: Any, rows: int) -> Any:
    """`block` with that many rows of zeros before its own."""
    import torch

    return torch.cat([block.new_zeros((rows, *block.shape[1:])), block])


def _image_to_tensor(image: Image.Image) -> torch.Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.asarray(image, dtype="float32") / 255).permute(2, 0, 1)[None]


def _check_shape(pipe: Any, one: LoadedUnit) -> None:
    """Raises InvalidRequest unless the network's blocks, text width and stride are those of the checkpoint."""
    ours, theirs, name = pipe.unet.config, one.module.config, one.chosen.file.name
    if one.chosen.is_adapter:
        stride = theirs.downscale_factor
        if one.map.width % stride or one.map.height % stride:
            raise InvalidRequest(
                f"The T2I-Adapter {name} needs sizes that are multiples of {stride} px.",
                hint=f"Choose {one.map.width // stride * stride}×{one.map.height // stride * stride}.",
            )
        fine = [tuple(level.shape[1:]) for level in one.features()] == _compute_level_shapes(pipe, one.map)
    else:
        fine = (
            list(theirs.block_out_channels) == list(ours.block_out_channels)
            and theirs.layers_per_block == ours.layers_per_block
            and theirs.cross_attention_dim == ours.cross_attention_dim
            and 2 ** (len(theirs.conditioning_embedding_out_channels) - 1) == pipe.vae_scale_factor
        )
    if not fine:
        raise InvalidRequest(
            f"The {one.chosen.file.kind} {name} does not fit this checkpoint: its layer sizes differ.",
            hint="Choose one made for this checkpoint.",
            details={"file": name},
        )


def _compute_level_shapes(pipe: Any, drawn: Image.Image) -> list[tuple[int, int, int]]:
    """(channels, height, width) of what a UNet takes from a T2I-Adapter at each level: blocks with attention take it
    before they halve, the others after."""
    config = pipe.unet.config
    height, width = drawn.height // pipe.vae_scale_factor, drawn.width // pipe.vae_scale_factor
    found: list[tuple[int, int, int]] = []
    last = len(config.down_block_types) - 1
    for place, (kind, channels) in enumerate(zip(config.down_block_types, config.block_out_channels, strict=True)):
        halved = ((height + 1) // 2, (width + 1) // 2) if place < last else (height, width)
        found.append((channels, height, width) if kind.startswith("CrossAttn") else (channels, *halved))
        height, width = halved
    return found

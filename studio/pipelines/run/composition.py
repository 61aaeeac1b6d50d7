"""AND inside the UNet: several conditions answered for in one call, so that the pipeline around it need not know.

Composition by weights as in "Compositional Visual Generation with Composable Diffusion Models" (Liu et al., 2022) and
in A1111: noise = negative + guidance · Σ weight · (condition − negative).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from studio.pipelines.unet_forward import replace_forward


@dataclass(frozen=True)
class AreaWeight:
    """A weight that holds in one area alone, given as (left, top, right, bottom) in fractions of the image."""

    weight: float
    area: tuple[float, float, float, float]

    def draw_map(self, noise: Any) -> Any:
        """The weight at every place of `noise` (images, channels, height, width)."""
        import torch

        height, width = noise.shape[-2:]
        left, right = (round(side * width) for side in self.area[::2])
        top, bottom = (round(side * height) for side in self.area[1::2])
        drawn = torch.zeros((1, 1, height, width), dtype=noise.dtype, device=noise.device)
        drawn[..., top:bottom, left:right] = self.weight
        return drawn


Weight = float | AreaWeight


@contextmanager
def compose_conditions(unet: Any, weights: tuple[Weight, ...], images: int) -> Iterator[None]:
    """Within the block, `unet` takes embeddings in which one condition per weight lies side by side along the sequence
    (and pooled ones side by side along their width), and answers as if there were one condition that is all of them.

    The batch is [negative; positive] with guidance and just the positive without; then there is nothing to measure the
    conditions against, and their mean by weight is the answer.
    """
    with replace_forward(unet, _build_composed_forward(unet.forward, weights, images)):
        yield


def _build_composed_forward(forward: Any, weights: tuple[Weight, ...], images: int) -> Any:
    count = len(weights)

    def forward_composed(
        sample: Any, timestep: Any, *, encoder_hidden_states: Any, return_dict: bool = True, **rest: Any
    ) -> Any:
        import torch

        guided = sample.shape[0] == 2 * images

        def repeat_conditions(value: Any) -> Any:
            """One copy per condition, of everything that comes per image."""
            if isinstance(value, torch.Tensor):
                if value.ndim == 0 or value.shape[0] != sample.shape[0]:
                    return value
                return torch.cat([*([value[:images]] if guided else []), *[value[-images:]] * count])
            if isinstance(value, Mapping):
                return {
                    key: split_conditions(item) if key == "text_embeds" else repeat_conditions(item)
                    for key, item in value.items()
                }
            return type(value)(map(repeat_conditions, value)) if isinstance(value, list | tuple) else value

        def split_conditions(value: torch.Tensor) -> torch.Tensor:
            """Conditions that lie side by side, one below the other."""
            along = value.shape[1] // count
            negative = [value[:images, :along]] if guided else []
            return torch.cat([*negative, *value[-images:].split(along, dim=1)])

        noise = forward(
            repeat_conditions(sample),
            repeat_conditions(timestep),
            encoder_hidden_states=split_conditions(encoder_hidden_states),
            return_dict=False,
            **{key: repeat_conditions(value) for key, value in rest.items()},
        )[0]
        answer = _combine_noises(noise.split(images), weights, guided=guided)
        if not return_dict:
            return (answer,)
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=answer)

    return forward_composed


def _combine_noises(noises: tuple[Any, ...], weights: tuple[Weight, ...], *, guided: bool) -> Any:
    import torch

    scales = [weight.draw_map(noises[0]) if isinstance(weight, AreaWeight) else weight for weight in weights]
    if not guided:
        total: Any = sum(scales)
        total = total.clamp(min=1e-6) if isinstance(total, torch.Tensor) else total or 1.0
        return torch.stack([noise * (scale / total) for noise, scale in zip(noises, scales, strict=True)]).sum(dim=0)
    negative, *conditions = noises
    moves = torch.stack([(noise - negative) * scale for noise, scale in zip(conditions, scales, strict=True)])
    return torch.cat([negative, negative + moves.sum(dim=0)])

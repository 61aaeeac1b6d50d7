"""AND inside the UNet: several conditions answered for in one call, so that the pipeline around it need not know.

Composition by weights as in "Compositional Visual Generation with Composable Diffusion Models" (Liu et al., 2022) and
in A1111: noise = negative + guidance · Σ weight · (condition − negative).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from studio.pipelines.unet_forward import replace_forward


@contextmanager
def compose_conditions(unet: Any, weights: tuple[float, ...], images: int) -> Iterator[None]:
    """Within the block, `unet` takes embeddings in which one condition per weight lies side by side along the sequence
    (and pooled ones side by side along their width), and answers as if there were one condition that is all of them.

    The batch is [negative; positive] with guidance and just the positive without; then there is nothing to measure the
    conditions against, and their mean by weight is the answer.
    """
    with replace_forward(unet, _build_composed_forward(unet.forward, weights, images)):
        yield


def _build_composed_forward(forward: Any, weights: tuple[float, ...], images: int) -> Any:
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


def _combine_noises(noises: tuple[Any, ...], weights: tuple[float, ...], *, guided: bool) -> Any:
    import torch

    if not guided:
        total = sum(weights) or 1.0
        return torch.stack([noise * (weight / total) for noise, weight in zip(noises, weights, strict=True)]).sum(dim=0)
    negative, *conditions = noises
    moves = torch.stack([(noise - negative) * weight for noise, weight in zip(conditions, weights, strict=True)])
    return torch.cat([negative, negative + moves.sum(dim=0)])

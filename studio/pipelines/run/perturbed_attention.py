"""Guidance away from what a UNet draws when the middle of its self-attention is blind (PAG)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from studio.pipelines.network_forward import replace_forward


@contextmanager
def guide_by_perturbation(unet: Any, guidance: float, scale: float, images: int, *, halves: bool) -> Iterator[None]:
    """Within the block `unet` answers so that a pipeline that guides by `guidance` adds `scale` times the way from the
    perturbed prediction to the prompt's: "Self-Rectifying Diffusion Sampling with Perturbed-Attention Guidance" (Ahn et
    al., 2024), with the middle block perturbed.

    With `halves` the negative half of a batch is left out of the second call; what else steers the UNet must not mind.
    """
    forward = _build_perturbed_forward(unet, guidance, scale, images, halves=halves)
    with replace_forward(unet, forward):
        yield


def _build_perturbed_forward(unet: Any, guidance: float, scale: float, images: int, *, halves: bool) -> Any:
    forward = unet.forward
    attentions = [module for name, module in unet.mid_block.named_modules() if name.endswith("attn1")]

    def cut(value: Any, rows: int) -> Any:
        """The positive half of everything that comes per row of the batch."""
        if isinstance(value, Mapping):
            return {name: cut(item, rows) for name, item in value.items()}
        if getattr(value, "ndim", 0) and value.shape[0] == rows:
            return value[-images:]
        return value

    def forward_perturbed(sample: Any, timestep: Any, *, return_dict: bool = True, **rest: Any) -> Any:
        import torch

        answer = forward(sample, timestep, return_dict=False, **rest)[0]
        guided = sample.shape[0] == 2 * images
        rows = len(sample) if guided and halves else 0
        with ExitStack() as stack:
            for attention in attentions:
                stack.enter_context(replace_forward(attention, _make_blind_forward(attention)))
            given = {name: cut(value, rows) for name, value in rest.items()} if rows else rest
            blind = forward(sample[-images:] if rows else sample, timestep, return_dict=False, **given)[0]
        positive = answer[-images:]
        moved = positive + scale / (guidance if guided else 1.0) * (positive - blind[-images:])
        answer = torch.cat([answer[:-images], moved])
        if not return_dict:
            return (answer,)
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=answer)

    return forward_perturbed


def _make_blind_forward(attention: Any) -> Any:
    """The attention in which every place sees itself alone."""

    def forward_blind(hidden_states: Any, *_: Any, **__: Any) -> Any:
        hidden = attention.to_v(hidden_states)
        for layer in attention.to_out:
            hidden = layer(hidden)
        return hidden

    return forward_blind

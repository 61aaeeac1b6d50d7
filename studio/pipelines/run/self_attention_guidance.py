"""Guidance away from what a UNet draws when the places that it looks at are blurred (SAG)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from studio.core.request import GenerationRequest
from studio.pipelines.network_forward import replace_forward
from studio.pipelines.run.clean_prediction import CleanPrediction
from studio.pipelines.run.tiled_diffusion import Window, get_current_tiles

_KERNEL = 9  # latent pixels
_THRESHOLD = 1.0  # times the attention that a place would have if all had the same


@contextmanager
def guide_by_self_attention(
    pipe: Any, degrade: Any, request: GenerationRequest, images: int, *, halves: bool
) -> Iterator[None]:
    """Within the block the UNet of `pipe` answers so that a pipeline that guides by `request.guidance` adds
    `request.sag_scale` times the way from the prediction for a blurred image to the negative prompt's: "Improving
    Sample Quality of Diffusion Models Using Self-Attention Guidance" (Hong et al., 2023), as diffusers' pipeline does.

    `degrade` is the UNet's call without other guidance, which answers for the blurred image. With `halves` it is called
    with the negative half of a batch alone; what else steers the UNet must not mind. Images too small to be blurred
    stay.
    """
    with replace_forward(pipe.unet, _build_guided_forward(pipe, degrade, request, images, halves=halves)):
        yield


def _build_guided_forward(pipe: Any, degrade: Any, request: GenerationRequest, images: int, *, halves: bool) -> Any:
    unet, forward = pipe.unet, pipe.unet.forward
    prediction, guidance = CleanPrediction(pipe.scheduler), request.guidance or 1.0

    def forward_guided(sample: Any, timestep: Any, *, return_dict: bool = True, **rest: Any) -> Any:
        import torch

        with _watch_attention(unet, images) as seen:
            answer = forward(sample, timestep, return_dict=False, **rest)[0]
        own = answer[:images]
        channels, rows = answer.shape[1], len(sample)
        if min(sample.shape[-2:]) > _KERNEL // 2:
            level = prediction.find_level(timestep)
            latents = sample[:images, :channels]
            clean = prediction.predict_clean(latents, own, level)
            blurred = _blur(clean, request.sag_blur)
            change = (blurred - clean) * seen.draw_mask(clean) / math.sqrt(level**2 + 1)
            asked = sample[:images].clone() if halves else sample.clone()
            asked[:images, :channels] = latents + change
            given = {name: _cut_rows(value, rows, images) for name, value in rest.items()} if halves else rest
            blind = degrade(asked, timestep, return_dict=False, **given)[0][:images]
            share = request.sag_scale / (guidance if rows == 2 * images else 1.0)
            answer = torch.cat([answer[:-images], answer[-images:] + share * (own - blind)])
        if not return_dict:
            return (answer,)
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=answer)

    return forward_guided


@dataclass
class _SeenAttention:
    """What the middle of the UNet looked at in one call, as masks (images, 1, height, width) of the places that are
    looked at more than others: of the whole image (None), or of each tile."""

    masks: dict[Window | None, Any] = field(default_factory=dict)

    def note(self, sums: Any, size: tuple[int, int]) -> None:
        """Take in the attention that all places paid each place: `sums` (images, places), of several tiles one below
        the other. What is seen once counts: calls for other conditions may follow."""
        mask = (sums > _THRESHOLD).reshape(-1, 1, *size)
        tiles = get_current_tiles()
        windows = (None,) if tiles is None else tiles.windows
        for window, own in zip(windows, mask.chunk(len(windows)), strict=True):
            self.masks.setdefault(window, own)

    def draw_mask(self, latents: Any) -> Any:
        """1 at places of `latents` that are looked at, else 0, and between where tiles overlap: (images, 1, height,
        width)."""
        import torch
        from torch.nn.functional import interpolate

        height, width = latents.shape[-2:]
        total = torch.zeros((len(latents), 1, height, width), device=latents.device, dtype=latents.dtype)
        covered = torch.zeros_like(total[:1])
        for window, mask in self.masks.items():
            place = window or Window(0, 0, height, width)
            place.cut(total, height, width).add_(interpolate(mask.to(total.dtype), (place.height, place.width)))
            place.cut(covered, height, width).add_(1)
        return total / covered


@contextmanager
def _watch_attention(unet: Any, images: int) -> Iterator[_SeenAttention]:
    """Note what the first self-attention in the middle does for the first `images` of each batch."""
    block = unet.mid_block.attentions[0]
    attention = block.transformer_blocks[0].attn1
    own_block, own_attention, seen = block.forward, attention.forward, _SeenAttention()
    size = (0, 0)

    def forward_block(hidden_states: Any, *args: Any, **rest: Any) -> Any:
        nonlocal size
        size = tuple(hidden_states.shape[-2:])
        return own_block(hidden_states, *args, **rest)

    def forward_attention(hidden_states: Any, *args: Any, **rest: Any) -> Any:
        tiles = get_current_tiles()
        rows = len(hidden_states) if tiles is None else tiles.rows
        first = hidden_states.unflatten(0, (-1, rows))[:, :images].flatten(0, 1)
        query, key = (attention.head_to_batch_dim(layer(first)) for layer in (attention.to_q, attention.to_k))
        shares = attention.get_attention_scores(query, key)
        seen.note(shares.unflatten(0, (len(first), -1)).mean(dim=1).sum(dim=1), size)
        return own_attention(hidden_states, *args, **rest)

    with ExitStack() as stack:
        stack.enter_context(replace_forward(block, forward_block))
        stack.enter_context(replace_forward(attention, forward_attention))
        yield seen


def _blur(latents: Any, sigma: float) -> Any:
    from torchvision.transforms.functional import gaussian_blur

    return gaussian_blur(latents, [_KERNEL, _KERNEL], [sigma, sigma])


def _cut_rows(value: Any, rows: int, images: int) -> Any:
    """The first `images` of everything that comes per row of the batch."""
    if isinstance(value, Mapping):
        return {name: _cut_rows(item, rows, images) for name, item in value.items()}
    if getattr(value, "ndim", 0) and value.shape[0] == rows:
        return value[:images]
    return value

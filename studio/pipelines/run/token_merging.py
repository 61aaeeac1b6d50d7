"""Token merging: self-attention over fewer tokens, those that resemble one another averaged, for speed.

"Token Merging for Fast Stable Diffusion" (Bolya and Hoffman, 2023, arXiv:2303.17604) with the choices of AUTOMATIC1111:
in the self-attention at the latents' full resolution alone, and of every four neighbours the first is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from studio.pipelines.network_forward import replace_forward

_STRIDE = 2
"""One token of a square of so many by so many is one that others are merged into."""


@contextmanager
def merge_tokens(unet: Any, ratio: float) -> Iterator[None]:
    """Within the block the self-attention of `unet` at full resolution works on `ratio` (0 to 1) fewer tokens, three
    quarters fewer at most. A network that has no attention there, such as SDXL's, answers as before."""
    from diffusers.models.attention import BasicTransformerBlock

    size: list[int] = []
    forward = unet.forward

    def forward_sized(sample: Any, *args: Any, **rest: Any) -> Any:
        size[:] = sample.shape[-2:]
        return forward(sample, *args, **rest)

    with ExitStack() as stack:
        for block in unet.modules():
            if isinstance(block, BasicTransformerBlock) and not block.only_cross_attention:
                _merge_in_block(stack, block, size, ratio)
        stack.enter_context(replace_forward(unet, forward_sized))
        yield


def _merge_in_block(stack: ExitStack, block: Any, size: list[int], ratio: float) -> None:
    """Let a transformer block choose tokens by what it is given, before its norm, and merge them in its attention."""
    whole, attend = block.forward, block.attn1.forward
    given: list[Any] = []

    def forward_block(hidden_states: Any, *args: Any, **rest: Any) -> Any:
        given[:] = [hidden_states]
        try:
            return whole(hidden_states, *args, **rest)
        finally:
            given.clear()

    def forward_merged(hidden_states: Any, *args: Any, **rest: Any) -> Any:
        height, width = size
        if not given or hidden_states.shape[1] != height * width:
            return attend(hidden_states, *args, **rest)
        merge, unmerge = match_tokens(given[0], height, width, ratio)
        return unmerge(attend(merge(hidden_states), *args, **rest))

    stack.enter_context(replace_forward(block.attn1, forward_merged))
    stack.enter_context(replace_forward(block, forward_block))


def match_tokens(
    features: Any, height: int, width: int, ratio: float
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """What merges tokens (n, `height` · `width`, channels) into fewer, by how much `features` of that shape are alike,
    and what gives each of the tokens back what became of the one that it was merged into."""
    import torch

    tokens = height * width
    rows, columns = height // _STRIDE * _STRIDE, width // _STRIDE * _STRIDE
    is_kept = torch.zeros((height, width), dtype=torch.bool)
    is_kept[:rows:_STRIDE, :columns:_STRIDE] = True
    kept, others = (part.nonzero()[:, 0].to(features.device) for part in (is_kept.flatten(), ~is_kept.flatten()))
    count = min(len(others), math.floor(tokens * ratio))
    if count <= 0 or not len(kept):
        return (lambda values: values), (lambda values: values)
    unit = features / features.norm(dim=-1, keepdim=True)
    likeness, nearest = (unit[:, others] @ unit[:, kept].transpose(-1, -2)).max(dim=-1)
    order = likeness.argsort(dim=-1, descending=True)
    moved, left = order[:, :count, None], order[:, count:, None]
    target = nearest[..., None].gather(1, moved)

    def merge(values: Any) -> Any:
        channels = values.shape[-1]
        apart, into = values[:, others], values[:, kept]
        mean = into.scatter_reduce(
            1, target.expand(-1, -1, channels), apart.gather(1, moved.expand(-1, -1, channels)), reduce="mean"
        )
        return torch.cat([apart.gather(1, left.expand(-1, -1, channels)), mean], dim=1)

    def unmerge(values: Any) -> Any:
        channels = values.shape[-1]
        unmoved, merged = values.split([left.shape[1], len(kept)], dim=1)
        apart = values.new_empty((len(values), len(others), channels))
        apart.scatter_(1, left.expand(-1, -1, channels), unmoved)
        apart.scatter_(1, moved.expand(-1, -1, channels), merged.gather(1, target.expand(-1, -1, channels)))
        whole = values.new_empty((len(values), tokens, channels))
        whole[:, kept], whole[:, others] = merged, apart
        return whole

    return merge, unmerge

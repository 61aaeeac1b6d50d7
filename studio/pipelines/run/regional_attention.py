"""Regions by attention: in one call of the UNet each place reads the prompt of its region.

The cross-attention answers for the text of every region, and of each answer its region is taken. All else, the
self-attention between places among it, sees one image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from studio.pipelines.network_forward import replace_forward
from studio.pipelines.run.region_maps import RegionMaps

_CROSS_ATTENTION = "attn2"  # diffusers' name, in every block


@contextmanager
def attend_to_regions(unet: Any, maps: RegionMaps, regions: Sequence[int]) -> Iterator[None]:
    """Within the block, `unet` takes embeddings in which those of `regions`, numbers of `maps`, lie side by side along
    the sequence (and pooled ones along their width), and each place reads its own. Of pooled embeddings the mean by
    area is read, for they say nothing of places."""
    reader = _RegionReader(maps, regions)
    with ExitStack() as stack:
        for name, module in unet.named_modules():
            if name.endswith(_CROSS_ATTENTION):
                stack.enter_context(replace_forward(module, reader.build_attention(module.forward)))
        stack.enter_context(replace_forward(unet, reader.build_forward(unet.forward)))
        yield


class _RegionReader:
    """The calls of a UNet and of its cross-attention. `_size` is that of the latents of the call that runs."""

    def __init__(self, maps: RegionMaps, regions: Sequence[int]) -> None:
        self._maps = maps
        self._regions = list(regions)
        self._size = (0, 0)

    def build_forward(self, forward: Any) -> Any:
        def forward_regions(sample: Any, timestep: Any, *, added_cond_kwargs: Any = None, **rest: Any) -> Any:
            self._size = tuple(sample.shape[-2:])
            if added_cond_kwargs and "text_embeds" in added_cond_kwargs:
                pooled = self._mix_pooled(added_cond_kwargs["text_embeds"])
                added_cond_kwargs = {**added_cond_kwargs, "text_embeds": pooled}
            return forward(sample, timestep, added_cond_kwargs=added_cond_kwargs, **rest)

        return forward_regions

    def build_attention(self, forward: Any) -> Any:
        def attend(hidden_states: Any, encoder_hidden_states: Any = None, **rest: Any) -> Any:
            held = isinstance(encoder_hidden_states, tuple)  # with the features of reference images
            text = encoder_hidden_states[0] if held else encoder_hidden_states
            answer: Any = 0
            shares = self._draw_shares(hidden_states)
            for share, part in zip(shares, text.chunk(len(self._regions), dim=1), strict=True):
                given = (part, *encoder_hidden_states[1:]) if held else part
                answer = answer + share * forward(hidden_states, encoder_hidden_states=given, **rest)
            return answer

        return attend

    def _draw_shares(self, hidden_states: Any) -> Any:
        """The share of each region at the places of a layer, (regions, places, 1); `hidden_states` is (rows, places,
        width)."""
        height, width = self._size
        while height * width > hidden_states.shape[1]:  # each level of the UNet halves both, rounding up
            height, width = -(-height // 2), -(-width // 2)
        return self._draw(height, width).reshape(len(self._regions), -1, 1).to(hidden_states)

    def _draw(self, height: int, width: int) -> Any:
        """The regions' shares, which are 1 together, as means of the finest ones."""
        import torch

        fine = self._maps.draw(*self._size)[self._regions]
        fine = fine / fine.sum(dim=0).clamp(min=1e-6)
        return torch.nn.functional.interpolate(fine[None], (height, width), mode="area")[0]

    def _mix_pooled(self, pooled: Any) -> Any:
        """`pooled` is (rows, regions · width)."""
        means = self._draw(1, 1).reshape(-1, 1).to(pooled)
        return (pooled.reshape(len(pooled), len(self._regions), -1) * means).sum(dim=1)

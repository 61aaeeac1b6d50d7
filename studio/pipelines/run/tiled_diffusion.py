"""Large images in overlapping tiles: a UNet that is asked for each tile and whose answers are averaged, as in
"MultiDiffusion: Fusing Diffusion Paths for Controlled Image Generation" (Bar-Tal et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from studio.core.request import GenerationRequest
from studio.pipelines.network_forward import replace_forward

_GRAIN = 8  # latent pixels that the deepest block of a UNet sees as one
_RESIDUALS = (
    "down_block_additional_residuals",
    "mid_block_additional_residual",
    "down_intrablock_additional_residuals",
)
"""Arguments of a UNet's call that are maps of the image: what ControlNets and T2I-Adapters add."""


@dataclass(frozen=True)
class Tiles:
    """`side` and `overlap` in latent pixels; `batch` tiles go through the model together."""

    side: int
    overlap: int
    batch: int

    @classmethod
    def of(cls, request: GenerationRequest, scale: int) -> Tiles:
        """The tiles that `request` asks for, of a checkpoint whose latents are `scale` times smaller than images."""
        side = max(_GRAIN, request.tile_size // scale // _GRAIN * _GRAIN)
        return cls(side, min(round(side * request.tile_overlap), side - 1), request.tile_batch)

    def list_windows(self, height: int, width: int, *, aligned: bool = False) -> list[Window]:
        """The windows that cover `height` × `width` latent pixels, row by row, at even distances. With `aligned` they
        begin where the deepest block has a pixel of its own, but for the last ones."""
        return [
            Window(top, left, min(self.side, height), min(self.side, width))
            for top in self._spread(height, aligned=aligned)
            for left in self._spread(width, aligned=aligned)
        ]

    def _spread(self, whole: int, *, aligned: bool) -> list[int]:
        if whole <= self.side:
            return [0]
        overlap = max(self.overlap, min(_GRAIN, self.side - 1)) if aligned else self.overlap
        count = math.ceil((whole - overlap) / (self.side - overlap))
        gap = (whole - self.side) / (count - 1)
        grain = _GRAIN if aligned else 1
        starts = [min(int(i * gap), whole - self.side) for i in range(count)]
        return list(dict.fromkeys([*(start // grain * grain for start in starts[:-1]), whole - self.side]))


@dataclass(frozen=True)
class Window:
    """A part of latents, in latent pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, value: Any, height: int, width: int) -> Any:
        """The part of `value`, a map of an image of `height` × `width` latent pixels at any scale."""
        rows, columns = (
            _scale_span(start, length, whole, there)
            for start, length, whole, there in (
                (self.top, self.height, height, value.shape[-2]),
                (self.left, self.width, width, value.shape[-1]),
            )
        )
        return value[..., rows, columns]


def _scale_span(start: int, length: int, whole: int, there: int) -> slice:
    if length == whole:
        return slice(0, there)
    factor = round(whole / there)
    return slice(start // factor, start // factor + length // factor)


@dataclass(frozen=True)
class TileGroup:
    """The tiles that a network is being asked for in one call, each in `rows` rows of the batch."""

    windows: tuple[Window, ...]
    rows: int


_group: ContextVar[TileGroup | None] = ContextVar("tiles", default=None)


def get_current_tiles() -> TileGroup | None:
    """What the network is being asked for, for what watches it from inside; None for the whole image."""
    return _group.get()


@contextmanager
def draw_in_tiles(unet: Any, tiles: Tiles, before_each: Callable[[], None]) -> Iterator[None]:
    """Within the block `unet` answers for latents larger than a tile by the mean of its answers for all tiles, of which
    no more than `tiles.batch` are in memory at once. `before_each` call it may raise, to stop the drawing. Latents that
    fit into one tile are passed on as they are."""
    with replace_forward(unet, _build_tiled_forward(unet.forward, tiles, before_each)):
        yield


def _build_tiled_forward(forward: Any, tiles: Tiles, before_each: Callable[[], None]) -> Any:
    def forward_tiled(sample: Any, timestep: Any, *, return_dict: bool = True, **rest: Any) -> Any:
        import torch

        height, width = sample.shape[-2:]
        if max(height, width) <= tiles.side:
            return forward(sample, timestep, return_dict=return_dict, **rest)
        rows, total, covered = len(sample), None, torch.zeros((1, 1, height, width), device=sample.device)
        aligned = any(rest.get(name) is not None for name in _RESIDUALS)
        windows = tiles.list_windows(height, width, aligned=aligned)
        for first in range(0, len(windows), tiles.batch):
            before_each()
            group = windows[first : first + tiles.batch]
            given = {
                name: _cut_maps(value, group, (height, width)) if name in _RESIDUALS else _repeat(value, rows, group)
                for name, value in rest.items()
            }
            parts = torch.cat([window.cut(sample, height, width) for window in group])
            with _name_tiles(TileGroup(tuple(group), rows)):
                answers = forward(parts, _repeat(timestep, rows, group), return_dict=False, **given)[0]
            if total is None:
                total = torch.zeros((rows, answers.shape[1], height, width), device=sample.device)
            for answer, window in zip(answers.split(rows), group, strict=True):
                window.cut(total, height, width).add_(answer)
                window.cut(covered, height, width).add_(1)
        assert total is not None
        answer = (total / covered).to(sample.dtype)
        if not return_dict:
            return (answer,)
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

        return UNet2DConditionOutput(sample=answer)

    return forward_tiled


@contextmanager
def _name_tiles(group: TileGroup) -> Iterator[None]:
    token = _group.set(group)
    try:
        yield
    finally:
        _group.reset(token)


def _cut_maps(value: Any, group: list[Window], size: tuple[int, int]) -> Any:
    import torch

    if isinstance(value, list | tuple):
        return type(value)(_cut_maps(one, group, size) for one in value)
    return None if value is None else torch.cat([window.cut(value, *size) for window in group])


def _repeat(value: Any, rows: int, group: list[Window]) -> Any:
    """Everything that comes per row of the batch, once for each window."""
    import torch

    if isinstance(value, Mapping):
        return {name: _repeat(item, rows, group) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_repeat(item, rows, group) for item in value)
    if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == rows:
        return torch.cat([value] * len(group))
    return value

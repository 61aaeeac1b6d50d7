"""An image cut into tiles that overlap, and the answers put together so that no seam is left.

A network sees too little at a tile's edge. So neighbours share `overlap` px: the outermost of them are thrown away, and
only the middle ones, which both tiles know well, fade from one tile into the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MARGIN = 3 / 8
"""Share of the overlap, at each of its two ends, that only the tile which lies further in decides."""


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in px: `start` to `stop`, of which `before` and `after` are shared with its neighbours (0
    at the image's edge)."""

    start: int
    stop: int
    before: int = 0
    after: int = 0

    @property
    def size(self) -> int:
        return self.stop - self.start

    def weights(self, scale: int) -> torch.Tensor:
        """(size · scale,) in 0 to 1: how much this tile says at each px; with its neighbours' the sum is 1."""
        import torch

        weights = torch.ones(self.size * scale)
        if self.before:
            weights[: self.before * scale] = _build_fade(self.before * scale)
        if self.after:
            weights[-self.after * scale :] = 1 - _build_fade(self.after * scale)
        return weights


def _build_fade(length: int) -> torch.Tensor:
    import torch

    margin = length * MARGIN
    return ((torch.arange(length) + 0.5 - margin) / (length - 2 * margin)).clamp(0, 1)


def split_spans(length: int, tile: int, overlap: int, multiple: int = 1) -> tuple[Span, ...]:
    """The tiles of at most `tile` px that cover `length` px: as few as possible, of one size that is a multiple of
    `multiple` as `tile` is, neighbours sharing at least `overlap` px, which is taken for at most a third of a tile."""
    if length <= tile:
        return (Span(0, length),)
    overlap = min(overlap, tile // 3)
    count = -(-(length - overlap) // (tile - overlap))
    size = -(-(length + (count - 1) * overlap) // (count * multiple)) * multiple
    starts = [number * (length - size) // (count - 1) for number in range(count)]
    shared = [start + size - later for start, later in itertools.pairwise(starts)]
    return tuple(
        Span(start, start + size, before, after)
        for start, before, after in zip(starts, [0, *shared], [*shared, 0], strict=True)
    )


@dataclass(frozen=True)
class TileGrid:
    """All tiles of an image."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @classmethod
    def cover(cls, width: int, height: int, tile: int, overlap: int, multiple: int = 1) -> TileGrid:
        """Lengths in px; see `spans`."""
        return cls(split_spans(height, tile, overlap, multiple), split_spans(width, tile, overlap, multiple))

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def draw_bands(self, draw: Callable[[Span, Span], torch.Tensor], scale: int = 1) -> Iterator[torch.Tensor]:
        """The whole image from top to bottom, in bands of (channels, some rows, width · scale). `draw(row, column)`
        gives a tile, (channels, row.size · scale, column.size · scale), in floats. No more than two rows of tiles are
        held at once."""
        import torch

        width = self.columns[-1].stop * scale
        carried: torch.Tensor | None = None
        for row in self.rows:
            band: torch.Tensor | None = None
            for column in self.columns:
                tile = draw(row, column)
                if band is None:
                    band = torch.zeros((tile.shape[0], tile.shape[1], width), dtype=tile.dtype, device=tile.device)
                place = band[..., column.start * scale : column.stop * scale]
                if len(self.columns) == 1:
                    place += tile
                else:
                    place.addcmul_(tile, column.weights(scale).to(tile))
                del tile
            assert band is not None
            if len(self.rows) > 1:
                band *= row.weights(scale).to(band)[:, None]
            if carried is not None:
                band[:, : carried.shape[1]] += carried
            done = (row.size - row.after) * scale
            yield band[:, :done]
            carried = band[:, done:].clone() if row.after else None

"""How much each region of an image counts at each place, as maps of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from studio.core.region_area import read_area_mask
from studio.core.regions import Region
from studio.pipelines.run.source_images import Part

if TYPE_CHECKING:
    import torch

_PROBE = 256  # places across and down at which a region is looked for
_NOTHING = 1e-4  # a share that is due to rounding


class RegionMaps:
    """The maps of `regions`. Not for two threads at a time."""

    def __init__(
        self,
        regions: Sequence[Region],
        load_image: Callable[[str], Image.Image] | None = None,
        part: Part | None = None,
    ) -> None:
        """`load_image` gives the mask of that content hash, `part` is what is drawn, where that is not the whole
        image. In margins beyond it regions go on as at its edges."""
        self._regions = tuple(regions)
        self._part = part
        self._masks: dict[tuple[str, str], Image.Image] = {}
        self._drawn: dict[tuple[int, int], torch.Tensor] = {}
        for region in regions:
            if region.mask and load_image is not None and (region.mask, region.colour) not in self._masks:
                mask = read_area_mask(load_image(region.mask), region.colour)
                self._masks[region.mask, region.colour] = _crop_part(mask, part)

    def list_counting(self) -> tuple[int, ...]:
        """The numbers of the regions that count anywhere; what the others leave over may be nothing."""
        shares = self.draw(_PROBE, _PROBE)
        found = [not region.is_rest or bool(shares[n].max() > _NOTHING) for n, region in enumerate(self._regions)]
        return tuple(number for number, counts in enumerate(found) if counts)

    def draw(self, height: int, width: int) -> torch.Tensor:
        """The shares of all regions, (regions, height, width), on the CPU. With a region for the rest they are 1
        together at every place."""
        import torch

        if (height, width) not in self._drawn:
            layers = torch.stack([self._draw_layer(region, height, width) for region in self._regions])
            rest = next((number for number, region in enumerate(self._regions) if region.is_rest), None)
            if rest is not None:
                layers = layers / layers.sum(dim=0).clamp(min=1)
                layers[rest] = (1 - layers.sum(dim=0)).clamp(min=0)
            self._drawn[height, width] = layers
        return self._drawn[height, width]

    def _draw_layer(self, region: Region, height: int, width: int) -> torch.Tensor:
        """The region's own weight at each place; none of the rest."""
        import numpy as np
        import torch

        layer = torch.zeros((height, width))
        if region.is_rest:
            return layer
        left, top, right, bottom = _fit_box((region.left, region.top, region.right, region.bottom), self._part)
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        layer[rows, columns] = region.weight
        if region.mask:
            mask = self._masks[region.mask, region.colour].resize((width, height), Image.Resampling.BOX)
            layer *= torch.from_numpy(np.asarray(mask, dtype=np.float32) / 255)
        return layer


def _crop_part(mask: Image.Image, part: Part | None) -> Image.Image:
    if part is None:
        return mask
    import numpy as np

    sides = (mask.width, mask.height, mask.width, mask.height)
    left, top, right, bottom = (round(share * side) for share, side in zip(part, sides, strict=True))
    columns = np.arange(left, max(right, left + 1)).clip(0, mask.width - 1)
    rows = np.arange(top, max(bottom, top + 1)).clip(0, mask.height - 1)
    return Image.fromarray(np.asarray(mask)[rows][:, columns])


def _fit_box(box: Part, part: Part | None) -> Part:
    """`box`, of the whole image, in fractions of `part`."""
    if part is None:
        return box
    left, right = _fit_span((box[0], box[2]), (part[0], part[2]))
    top, bottom = _fit_span((box[1], box[3]), (part[1], part[3]))
    return left, top, right, bottom


def _fit_span(span: tuple[float, float], part: tuple[float, float]) -> tuple[float, float]:
    """`span` in fractions of `part`; one that reaches an edge of the whole image also has the margin there."""
    length = max(part[1] - part[0], 1e-6)
    low, high = ((min(1.0, max(0.0, (end - part[0]) / length))) for end in span)
    return (0.0 if span[0] <= 0 else low), (1.0 if span[1] >= 1 else high)

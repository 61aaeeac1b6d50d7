"""Single things put together: where each of them stands in an image, and one image of all on a common ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from studio.prompting.scene import Arrangement, Scene, Thing

if TYPE_CHECKING:
    import numpy as np

_RIM = 0.03  # of the side: what of an image is taken for its ground
_SOFT = 0.04  # of the side: how far an image fades into the common ground
_GROUND, _NEAR = 6.0, 24.0  # of 255: how far a pixel of the ground is from its colour, and one that is partly ground


@dataclass(frozen=True)
class Spot:
    """The square where a thing stands, in px."""

    left: int
    top: int
    side: int


def place_things(scene: Scene, width: int, height: int) -> tuple[Spot, ...]:
    """A square for each thing of the scene, in its order, as large as they fit into `width` × `height` px: in rows from
    left to right whose things stand on one line."""
    rows = _divide_rows(scene, width, height)
    widest = max(sum(thing.scale for thing in row) for row in rows)
    highest = sum(max(thing.scale for thing in row) for row in rows)
    unit = min(width / widest, height / highest)
    spots: list[Spot] = []
    line = (height - unit * highest) / 2
    for row in rows:
        line += unit * max(thing.scale for thing in row)
        left = (width - unit * sum(thing.scale for thing in row)) / 2
        for thing in row:
            side = unit * thing.scale
            spots.append(Spot(round(left), round(line - side), max(1, round(side))))
            left += side
    return tuple(spots)


def put_together(images: Sequence[Image.Image], spots: Sequence[Spot], size: tuple[int, int]) -> Image.Image:
    """One RGB image of `size` (width, height): each of `images`, square things on a plain ground, at its spot, and the
    ground that most of them have all around."""
    import numpy as np

    pixels = [np.asarray(image.convert("RGB"), dtype=np.float32) for image in images]
    grounds = np.stack([_find_ground(one) for one in pixels])
    distances = np.abs(grounds[:, None] - grounds[None]).sum(axis=(1, 2))
    common = grounds[int(distances.argmin())]
    whole = Image.new("RGB", size, tuple(int(value) for value in common.round()))
    for one, ground, spot in zip(pixels, grounds, spots, strict=True):
        share = _find_ground_share(one, ground)
        moved = (one + (common - one) * share).round().astype(np.uint8)
        square = Image.fromarray(moved).resize((spot.side, spot.side), Image.Resampling.LANCZOS)
        whole.paste(square, (spot.left, spot.top), _build_soft_edge(spot.side))
    return whole


def _divide_rows(scene: Scene, width: int, height: int) -> list[tuple[Thing, ...]]:
    things = scene.things
    if scene.arrangement is Arrangement.ROW:
        return [things]
    if scene.arrangement is Arrangement.COLUMN:
        return list(scene.groups)
    count = len(things)
    # as large as possible; of arrangements alike the one with fewer rows
    columns = max(
        range(1, count + 1), key=lambda columns: (min(width / columns, height / -(-count // columns)), columns)
    )
    return [things[start : start + columns] for start in range(0, count, columns)]


def _find_ground(pixels: np.ndarray) -> np.ndarray:
    """The middle colour of the rim of an image (height, width, 3), 0 to 255."""
    import numpy as np

    deep = max(1, round(min(pixels.shape[:2]) * _RIM))
    sides = (pixels[:deep], pixels[-deep:], pixels[:, :deep], pixels[:, -deep:])
    return np.median(np.concatenate([side.reshape(-1, 3) for side in sides]), axis=0)


def _find_ground_share(pixels: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """How much each pixel is ground, 0 to 1 (height, width, 1): those near its colour that hang together with the rim,
    so that a thing of that colour keeps its own light and shade."""
    import numpy as np
    from scipy import ndimage

    far = np.abs(pixels - ground).max(axis=-1)
    pieces, _ = ndimage.label(far < _NEAR)  # pyright: ignore[reportGeneralTypeIssues] - a pair where no output is given
    rim = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    share = np.clip((_NEAR - far) / (_NEAR - _GROUND), 0, 1) * np.isin(pieces, rim[rim > 0])
    return share[..., None]


def _build_soft_edge(side: int) -> Image.Image:
    """A mask that is 0 at the edge and 255 inside."""
    import numpy as np

    ramp = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / max(1.0, side * _SOFT)
    ramp = np.clip(ramp, 0, 1)
    return Image.fromarray((255 * np.minimum(ramp[:, None], ramp[None])).round().astype(np.uint8))

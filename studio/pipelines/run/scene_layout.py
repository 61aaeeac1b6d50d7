"""Single things put together: where each of them stands in an image, and one image of all on a common ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from studio.pipelines.run.scenery import Scenery, paint_scenery
from studio.pipelines.run.thing_cutouts import (
    Cutout,
    cut_out,
    find_changed,
    find_ground,
    find_ground_share,
    put_on,
    shade_ground,
    sink,
)
from studio.prompting.scene import Arrangement, Scene
from studio.prompting.thing_facts import Footing, get_footing, get_relative_sizes, has_openings

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

_SOFT = 0.04  # of the side: how far an image fades into the common ground
_HIGH = 0.84  # of the height: what things in a place take at most
_SINK = 0.62  # of the room above and below them that is above
_FAR_UP = 0.75  # times as large as they are: what hangs in the air above other things
_HORIZON, _HIGHEST, _LOWEST = 0.4, 0.3, 0.72  # above their feet, in sides of the farthest; from the top, in heights
_BELOW_FLIERS = 0.86  # the horizon where all things are high up, from the top, in heights
_SEEN = 231  # of 255: what is darker in an image of white is part of a thing
_FOOT = 0.95  # of the side of its square: where the foot of a thing stands


@dataclass(frozen=True)
class Spot:
    """The square where a thing stands, in px."""

    left: int
    top: int
    side: int


@dataclass(frozen=True)
class Placement:
    """Where the things of a scene stand, in its order, on what they rest, whether the place shows through them, and how
    high the horizon is, in px."""

    spots: tuple[Spot, ...]
    footings: tuple[Footing, ...]
    openings: tuple[bool, ...]
    horizon: int


def place_things(scene: Scene, width: int, height: int) -> tuple[Spot, ...]:
    """A square for each thing of the scene, in its order, as large as they fit into `width` × `height` px: in rows from
    left to right whose things stand on one line."""
    rows = _divide_rows(scene, scene.things, width, height)
    placed = _place_rows([[thing.scale for thing in row] for row in rows], width, height)
    return tuple(spot for row in placed for spot in row)


def place_by_nature(scene: Scene, width: int, height: int) -> Placement:
    """As `place_things` for a scene in a place: each thing as large beside the others as things of its kind are, what
    flies above what stands."""
    names = tuple(thing.name for thing in scene.things)
    footings = tuple(map(get_footing, names))
    scales = [thing.scale * size for thing, size in zip(scene.things, get_relative_sizes(names), strict=True)]
    rows = _divide_by_nature(scene, footings, width, height)
    fliers_above = len(rows) > 1 and _all_fly(rows[0], footings) and not _all_fly(range(len(names)), footings)
    if fliers_above:
        scales = [
            scale * (_FAR_UP if footing is Footing.FLIES else 1)
            for scale, footing in zip(scales, footings, strict=True)
        ]
    placed = _place_rows([[scales[number] for number in row] for row in rows], width, height, _HIGH, _SINK)
    spots = {
        number: spot for row, made in zip(rows, placed, strict=True) for number, spot in zip(row, made, strict=True)
    }
    standing = next((row for row in rows if not _all_fly(row, footings)), rows[-1])
    feet = max(spots[number].top + spots[number].side for number in standing)
    horizon = feet - _HORIZON * max(spots[number].side for number in standing)
    horizon = min(max(horizon, _HIGHEST * height), _LOWEST * height)
    if _all_fly(standing, footings):  # no ground behind what is in the sky
        horizon = _BELOW_FLIERS * height
    openings = tuple(map(has_openings, names))
    return Placement(tuple(spots[number] for number in range(len(names))), footings, openings, round(horizon))


def take_apart(image: Image.Image, spots: Sequence[Spot]) -> tuple[Image.Image, ...]:
    """The squares of an RGB image at `spots`."""
    return tuple(image.crop((spot.left, spot.top, spot.left + spot.side, spot.top + spot.side)) for spot in spots)


def take_out_of_place(image: Image.Image, placement: Placement, scenery: Scenery, seed: int) -> tuple[Image.Image, ...]:
    """The squares of the things in an RGB image that `put_into_place` made with these values, on white without the
    place and the shadows. What was moved onto its foot is in the middle again, where the model puts it: low strengths
    cannot mend a thing that stands elsewhere than it expects."""
    background = paint_scenery(scenery, image.size, placement.horizon, seed)
    alone = Image.new("RGB", image.size, "white")
    alone.paste(image, mask=find_changed(image, background))
    squares = take_apart(alone, placement.spots)
    return tuple(
        _take_off_foot(alone, spot) if _stands_on(scenery, footing) else square
        for square, spot, footing in zip(squares, placement.spots, placement.footings, strict=True)
    )


def place_others(placement: Placement, scene: Scene) -> Placement:
    """The things of `scene` where those of another one stand, of as many."""
    names = [thing.name for thing in scene.things]
    return replace(placement, footings=tuple(map(get_footing, names)), openings=tuple(map(has_openings, names)))


def put_together(images: Sequence[Image.Image], spots: Sequence[Spot], size: tuple[int, int]) -> Image.Image:
    """One RGB image of `size` (width, height): each of `images`, square things on a plain ground, at its spot, and the
    ground that most of them have all around."""
    import numpy as np

    pixels = [np.asarray(image.convert("RGB"), dtype=np.float32) for image in images]
    grounds = np.stack([find_ground(one) for one in pixels])
    common = _choose_common(grounds)
    whole = Image.new("RGB", size, tuple(int(value) for value in common.round()))
    for one, ground, spot in zip(pixels, grounds, spots, strict=True):
        share = find_ground_share(one, ground)
        moved = (one + (common - one) * share).round().astype(np.uint8)
        square = Image.fromarray(moved).resize((spot.side, spot.side), Image.Resampling.LANCZOS)
        whole.paste(square, (spot.left, spot.top), _build_soft_edge(spot.side))
    return whole


def set_on_ground(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A square image in the middle of one of `size` (width, height) px, as high or wide as that, on its own ground."""
    left, top = (size[0] - image.width) // 2, (size[1] - image.height) // 2
    return put_together([image], [Spot(left, top, image.width)], size)


def put_into_place(
    images: Sequence[Image.Image], placement: Placement, scenery: Scenery, size: tuple[int, int], seed: int
) -> Image.Image:
    """One RGB image of `size` (width, height): the things of `images` cut out of their plain grounds and put into a
    place, with shadows below what stands."""
    import numpy as np

    whole = paint_scenery(scenery, size, placement.horizon, seed)
    kinds = zip(placement.footings, placement.openings, strict=True)
    for image, spot, (footing, is_open) in zip(images, placement.spots, kinds, strict=True):
        cutout = cut_out(image, spot.side, has_openings=is_open)
        if not _stands_on(scenery, footing):
            put_on(whole, cutout, spot.left, spot.top)
        elif scenery.is_water:
            put_on(whole, sink(cutout), spot.left, _find_top(cutout, spot))
        else:
            _put_on_ground(whole, cutout, spot)
    return Image.fromarray(np.clip(whole, 0, 255).round().astype(np.uint8))


def _stands_on(scenery: Scenery, footing: Footing) -> bool:
    """Whether a thing is moved down onto its foot, on the ground or in the water."""
    return scenery.ground is not None and footing in (Footing.STANDS, Footing.SWIMS)


def _put_on_ground(whole: np.ndarray, cutout: Cutout, spot: Spot) -> None:
    left, _, right, bottom = cutout.box
    top = _find_top(cutout, spot)
    shade_ground(whole, spot.left + (left + right) / 2, top + bottom, right - left)
    put_on(whole, cutout, spot.left, top)


def _find_top(cutout: Cutout, spot: Spot) -> int:
    """How high the square of a cutout begins, so that its foot stands where that of each thing does."""
    return spot.top + round(_FOOT * spot.side) - cutout.box[3]


def _take_off_foot(alone: Image.Image, spot: Spot) -> Image.Image:
    """The thing that stands at `spot` in an image of white, in the middle between top and bottom of its square. A thing
    as high as that reaches out of it, by what its foot was moved."""
    import numpy as np

    above = spot.side - round(_FOOT * spot.side)
    square = Image.new("RGB", (spot.side, spot.side + above), "white")
    square.paste(alone, (-spot.left, above - spot.top))
    rows = np.flatnonzero((np.asarray(square.convert("L")) < _SEEN).any(axis=1))
    middle = (rows[0] + rows[-1] + 1) / 2 if len(rows) else above + spot.side / 2
    centred = Image.new("RGB", (spot.side, spot.side), "white")
    centred.paste(square, (0, round(spot.side / 2 - middle)))
    return centred


def _all_fly(numbers: Sequence[int], footings: Sequence[Footing]) -> bool:
    return all(footings[number] is Footing.FLIES for number in numbers)


def _divide_by_nature(scene: Scene, footings: Sequence[Footing], width: int, height: int) -> list[Sequence[int]]:
    """The numbers of the things in each row from the top: what flies above the rest, where the scene leaves it open."""
    numbers = range(len(footings))
    fliers = [number for number in numbers if footings[number] is Footing.FLIES]
    others = [number for number in numbers if footings[number] is not Footing.FLIES]
    if scene.arrangement is Arrangement.FREE and fliers and others:
        return [*_divide_evenly(fliers, width, height // 3), *_divide_evenly(others, width, 2 * height // 3)]
    return _divide_rows(scene, numbers, width, height)


def _divide_rows(scene: Scene, things: Sequence[T], width: int, height: int) -> list[Sequence[T]]:
    """`things`, which are those of the scene, in rows."""
    if scene.arrangement is Arrangement.ROW:
        return [things]
    if scene.arrangement is Arrangement.COLUMN:
        first = len(scene.groups[0])
        return [things[:first], things[first:]]
    return _divide_evenly(things, width, height)


def _divide_evenly(things: Sequence[T], width: int, height: int) -> list[Sequence[T]]:
    count = len(things)
    # as large as possible; of arrangements alike the one with fewer rows
    columns = max(
        range(1, count + 1), key=lambda columns: (min(width / columns, height / -(-count // columns)), columns)
    )
    return [things[start : start + columns] for start in range(0, count, columns)]


def _place_rows(
    rows: Sequence[Sequence[float]], width: int, height: int, high: float = 1.0, above: float = 0.5
) -> list[list[Spot]]:
    """The squares of things by their scales, as large as they fit into the width and `high` of the height; of the room
    that is left, `above` is above them."""
    widest = max(sum(row) for row in rows)
    highest = sum(max(row) for row in rows)
    unit = min(width / widest, high * height / highest)
    placed: list[list[Spot]] = []
    line = (height - unit * highest) * above
    for row in rows:
        line += unit * max(row)
        left = (width - unit * sum(row)) / 2
        spots: list[Spot] = []
        for scale in row:
            side = unit * scale
            spots.append(Spot(round(left), round(line - side), max(1, round(side))))
            left += side
        placed.append(spots)
    return placed


def _choose_common(grounds: np.ndarray) -> np.ndarray:
    """The ground that is nearest to all others, of (things, 3)."""
    import numpy as np

    distances = np.abs(grounds[:, None] - grounds[None]).sum(axis=(1, 2))
    return grounds[int(distances.argmin())]


def _build_soft_edge(side: int) -> Image.Image:
    """A mask that is 0 at the edge and 255 inside."""
    import numpy as np

    ramp = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / max(1.0, side * _SOFT)
    ramp = np.clip(ramp, 0, 1)
    return Image.fromarray((255 * np.minimum(ramp[:, None], ramp[None])).round().astype(np.uint8))

"""Places behind composed things: grass below a sky, the sea, a night with stars. What varies in them follows a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFilter

from studio.prompting.scene import Scene
from studio.prompting.thing_facts import Footing, get_footing

if TYPE_CHECKING:
    import numpy as np

Colour = tuple[int, int, int]
Details = Callable[["Canvas"], None]
Shapes = Callable[[ImageDraw.ImageDraw], None]

_FINE = 2  # times as wide and high as the image, for edges without steps
_WHITE: Colour = (255, 255, 255)
_CLOUDS, _STARS, _TUFTS, _WAVES, _TREES, _DROPS, _BUBBLES = 3, 70, 46, 26, 13, 90, 16  # how many


@dataclass(frozen=True, kw_only=True)
class Scenery:
    """How a place looks: the colours of its sky from the top to the horizon and of its ground from there to the bottom,
    None where there is no ground; how far hills stand out of the horizon, as a share of the height; what is painted
    onto both, in order."""

    sky: tuple[Colour, Colour]
    ground: tuple[Colour, Colour] | None = None
    hills: float = 0.0
    details: tuple[Details, ...] = ()
    is_water: bool = False


class Canvas:
    """A place that is being painted: `pixels` (height, width, 3) from 0 to 255, the `horizon` in px from the top, and
    the numbers of the seed."""

    def __init__(self, size: tuple[int, int], horizon: int, seed: int) -> None:
        import numpy as np

        self.width, self.height = size
        self.horizon = horizon
        self.unit = min(size) / 128  # px of a stroke as thick as a pixel of a small image
        self.draw_number = np.random.RandomState([seed % 2**32, seed // 2**32 % 2**32]).uniform
        self.pixels = np.zeros((self.height, self.width, 3), np.float32)

    def draw_point(self, top: float, bottom: float) -> tuple[float, float]:
        """A place (x, y) in px between two heights."""
        return self.draw_number(0, self.width), self.draw_number(top, bottom)

    def paint(
        self, colour: Colour, share: float, shapes: Callable[[ImageDraw.ImageDraw], None], blur: float = 0
    ) -> None:
        """Lay `colour` over the pixels where `shapes` draws, in px times _FINE, with `share` of it; `blur` in px."""
        import numpy as np

        mask = Image.new("L", (self.width * _FINE, self.height * _FINE))
        shapes(ImageDraw.Draw(mask))
        mask = mask.resize((self.width, self.height), Image.Resampling.BOX)
        if blur:
            mask = mask.filter(ImageFilter.GaussianBlur(blur))
        self.lay(colour, np.asarray(mask, np.float32) / 255 * share)

    def lay(self, colour: Colour, shares: np.ndarray) -> None:
        """Mix `colour` into each pixel by its share, 0 to 1 (height, width)."""
        import numpy as np

        self.pixels += (np.array(colour, np.float32) - self.pixels) * shares[..., None]


def choose_scenery(scene: Scene) -> Scenery | None:
    """How the place of a scene looks, None where it has none or an unknown one. Where all things live in the water, the
    sea is seen from below its surface."""
    words = [word for word in scene.place.lower().split() if word not in ("a", "an", "the")]
    noun = " ".join(words[1:])
    found = _SCENERIES.get(noun)
    if found is None or not found.is_water:
        return found
    swim = all(get_footing(thing.name) is Footing.SWIMS for thing in scene.things)
    return _UNDER_WATER if swim or words[0] == "under" else found


def paint_scenery(scenery: Scenery, size: tuple[int, int], horizon: int, seed: int) -> np.ndarray:
    """The pixels of a place, (height, width, 3) from 0 to 255, for an image of `size` (width, height), its horizon in
    px from the top. The same seed always gives the same."""
    import numpy as np

    canvas = Canvas(size, horizon if scenery.ground else size[1], seed)
    rows = np.arange(canvas.height, dtype=np.float32)[:, None]
    canvas.pixels[:] = _shade(scenery.sky, rows / max(1, canvas.horizon))
    if scenery.ground:
        columns = np.arange(canvas.width, dtype=np.float32)[None] / canvas.width
        first, second = canvas.draw_number(0, 6.28, 2)
        waves = np.sin(5 * columns + first) + 0.6 * np.sin(11 * columns + second)
        line = canvas.horizon + canvas.height * scenery.hills * waves
        below = np.clip(rows - line + 0.5, 0, 1)[..., None]
        ground = _shade(scenery.ground, (rows - canvas.horizon) / max(1, canvas.height - canvas.horizon))
        canvas.pixels += (ground - canvas.pixels) * below
    for paint_detail in scenery.details:
        paint_detail(canvas)
    return np.clip(canvas.pixels, 0, 255)


def _shade(colours: tuple[Colour, Colour], share: np.ndarray) -> np.ndarray:
    """A gradient from one colour to the other, (height, 1, 3) for shares (height, 1)."""
    import numpy as np

    first, last = (np.array(colour, np.float32) for colour in colours)
    return first + (last - first) * np.clip(share, 0, 1)[..., None]


def _ellipse(draw: ImageDraw.ImageDraw, x: float, y: float, wide: float, high: float) -> None:
    draw.ellipse([_FINE * side for side in (x - wide, y - high, x + wide, y + high)], fill=255)


def _paint_clouds(canvas: Canvas, colour: Colour = _WHITE, share: float = 0.7) -> None:
    clouds = [
        (*canvas.draw_point(0.1 * canvas.horizon, 0.6 * canvas.horizon), canvas.draw_number(7, 13))
        for _ in range(_CLOUDS)
    ]
    puffs = [
        (
            x + size * canvas.unit * canvas.draw_number(-1.3, 1.3),
            y + size * canvas.unit * canvas.draw_number(-0.2, 0.2),
            size,
        )
        for x, y, size in clouds
        for _ in range(6)
    ]

    def shapes(draw: ImageDraw.ImageDraw) -> None:
        for x, y, size in puffs:
            _ellipse(draw, x, y, 0.7 * size * canvas.unit, 0.32 * size * canvas.unit)

    canvas.paint(colour, share, shapes, blur=0.9 * canvas.unit)


def _paint_dark_clouds(canvas: Canvas) -> None:
    _paint_clouds(canvas, (112, 122, 136), 0.55)


def _paint_stars(canvas: Canvas) -> None:
    stars = [
        (*canvas.draw_point(0, 0.94 * canvas.horizon), canvas.unit * canvas.draw_number(0.25, 0.7))
        for _ in range(_STARS)
    ]

    def shapes(draw: ImageDraw.ImageDraw) -> None:
        for x, y, size in stars:
            _ellipse(draw, x, y, size, size)

    canvas.paint((255, 250, 225), 0.9, shapes)


def _paint_tufts(canvas: Canvas) -> None:
    """Blades of grass, three by three, larger towards the bottom."""
    tufts = [canvas.draw_point(canvas.horizon + 3 * canvas.unit, canvas.height) for _ in range(_TUFTS)]

    def shapes(draw: ImageDraw.ImageDraw) -> None:
        for x, y in tufts:
            near = 0.5 + (y - canvas.horizon) / max(1, canvas.height - canvas.horizon)
            for lean in (-1.1, 0.0, 1.1):
                tip = (x + lean * 1.6 * near * canvas.unit, y - (2.6 - 0.5 * abs(lean)) * near * canvas.unit)
                foot = (x + 0.3 * lean * canvas.unit, y)
                line = [_FINE * value for value in (*foot, *tip)]
                draw.line(line, fill=255, width=max(1, round(0.45 * _FINE * canvas.unit)))

    canvas.paint((58, 128, 48), 0.5, shapes)


def _paint_trees(canvas: Canvas) -> None:
    """Firs along the horizon, the farther ones paler."""
    for colour, grow in (((104, 158, 116), 1.0), ((52, 112, 72), 1.35)):
        trees = [(*canvas.draw_point(-1, 2), canvas.draw_number(0.75, 1.2)) for _ in range(_TREES)]

        def shapes(draw: ImageDraw.ImageDraw, trees: list[tuple[float, ...]] = trees, grow: float = grow) -> None:
            for x, drop, size in trees:
                high, foot = grow * size * 0.22 * canvas.height, canvas.horizon + (drop + 1.5) * canvas.unit
                for start, end, wide in ((1.0, 0.45, 0.17), (0.75, 0.2, 0.23), (0.5, 0.0, 0.29)):
                    corners = (x, foot - start * high, x - wide * high, foot - end * high)
                    draw.polygon([_FINE * value for value in (*corners, x + wide * high, foot - end * high)], fill=255)

        canvas.paint(colour, 0.9, shapes, blur=0.25 * canvas.unit)


def _paint_waves(canvas: Canvas) -> None:
    """Short light strokes, longer towards the bottom."""
    waves = [canvas.draw_point(canvas.horizon + 2 * canvas.unit, canvas.height) for _ in range(_WAVES)]

    def shapes(draw: ImageDraw.ImageDraw) -> None:
        for x, y in waves:
            near = 0.4 + (y - canvas.horizon) / max(1, canvas.height - canvas.horizon)
            wide, high = 7 * near * canvas.unit, 1.6 * near * canvas.unit
            box = [_FINE * value for value in (x - wide, y - high, x + wide, y + high)]
            draw.arc(box, 200, 340, fill=255, width=max(1, round(0.7 * _FINE * canvas.unit)))

    canvas.paint(_WHITE, 0.4, shapes)


def _paint_light_from_above(canvas: Canvas) -> None:
    """Rays that widen and fade towards the bottom, and bubbles."""
    import numpy as np

    rays = [(canvas.draw_number(0, canvas.width), canvas.draw_number(0.04, 0.1) * canvas.width) for _ in range(4)]

    def shapes(draw: ImageDraw.ImageDraw) -> None:
        for x, wide in rays:
            corners = (x, 0, x + wide, 0, x + 2.5 * wide - 0.15 * canvas.width, canvas.height)
            draw.polygon([_FINE * value for value in (*corners, x - 0.25 * canvas.width, canvas.height)], fill=255)

    before = canvas.pixels.copy()
    canvas.paint(_WHITE, 0.22, shapes, blur=1.5 * canvas.unit)
    fade = np.clip(1 - np.arange(canvas.height, dtype=np.float32) / (0.9 * canvas.height), 0, 1)
    canvas.pixels[:] = before + (canvas.pixels - before) * fade[:, None, None]
    bubbles = [(*canvas.draw_point(0, canvas.height), canvas.draw_number(0.5, 1.5)) for _ in range(_BUBBLES)]

    def rings(draw: ImageDraw.ImageDraw) -> None:
        for x, y, size in bubbles:
            box = [_FINE * value for value in (x - size * canvas.unit, y - size * canvas.unit)]
            box += [value + 2 * _FINE * size * canvas.unit for value in box]
            draw.ellipse(box, outline=255, width=max(1, round(0.4 * _FINE * canvas.unit)))

    canvas.paint(_WHITE, 0.55, rings)


def _paint_low_sun(canvas: Canvas) -> None:
    """The sun half below the horizon; painted before the ground would hide it, so only its upper half."""
    x, size = canvas.draw_number(0.2, 0.8) * canvas.width, 0.13 * canvas.height

    def shapes(draw: ImageDraw.ImageDraw) -> None:
        box = [_FINE * value for value in (x - size, canvas.horizon - size, x + size, canvas.horizon + size)]
        draw.pieslice(box, 180, 360, fill=255)

    canvas.paint((255, 226, 140), 0.35, shapes, blur=0.5 * size)
    canvas.paint((255, 240, 178), 0.95, shapes)


def _paint_rain(canvas: Canvas) -> None:
    drops = [canvas.draw_point(0, canvas.height) for _ in range(_DROPS)]

    def shapes(draw: ImageDraw.ImageDraw) -> None:
        for x, y in drops:
            line = (x, y, x - 1.2 * canvas.unit, y + 5 * canvas.unit)
            draw.line([_FINE * value for value in line], fill=255, width=max(1, round(0.45 * _FINE * canvas.unit)))

    canvas.paint(_WHITE, 0.4, shapes)


def _paint_mist(canvas: Canvas) -> None:
    """A pale band around the horizon."""
    import numpy as np

    rows = np.arange(canvas.height, dtype=np.float32)[:, None]
    near = np.exp(-(((rows - canvas.horizon) / (0.22 * canvas.height)) ** 2))
    canvas.lay((240, 243, 246), 0.75 * near)


def _paint_sea_behind(canvas: Canvas) -> None:
    """A strip of sea above the horizon, which is where the sand begins."""
    import numpy as np

    rows = np.arange(canvas.height, dtype=np.float32)[:, None]
    top = canvas.horizon - 0.12 * canvas.height
    inside = np.clip(rows - top + 0.5, 0, 1) * np.clip(canvas.horizon - rows + 0.5, 0, 1)
    canvas.lay((70, 158, 214), inside)
    foam = np.clip(1 - np.abs(rows - canvas.horizon) / (1.6 * canvas.unit), 0, 1)
    canvas.lay(_WHITE, 0.8 * foam)


_DAY: tuple[Colour, Colour] = ((112, 182, 240), (212, 236, 252))
_NIGHT: tuple[Colour, Colour] = ((12, 16, 46), (52, 62, 116))
_MEADOW = Scenery(sky=_DAY, ground=((164, 212, 104), (96, 168, 66)), hills=0.012, details=(_paint_clouds, _paint_tufts))
_SEA = Scenery(sky=_DAY, ground=((96, 178, 226), (30, 104, 178)), details=(_paint_clouds, _paint_waves), is_water=True)
_UNDER_WATER = Scenery(sky=((104, 198, 236), (16, 74, 146)), details=(_paint_light_from_above,))
_DARK = Scenery(sky=_NIGHT, ground=((46, 58, 82), (20, 26, 42)), hills=0.012, details=(_paint_stars,))
_SAND = Scenery(sky=((118, 190, 240), (250, 234, 204)), ground=((244, 214, 146), (216, 168, 92)), hills=0.02)
_SCENERIES: Mapping[str, Scenery] = {  # by the words of a place without preposition and article
    **dict.fromkeys(("grass", "meadow", "field", "garden"), _MEADOW),
    "forest": replace(_MEADOW, ground=((128, 182, 92), (70, 132, 56)), details=(_paint_trees, _paint_tufts)),
    **dict.fromkeys(("sea", "ocean", "lake", "water"), _SEA),
    "sky": Scenery(sky=((84, 164, 236), (200, 230, 252)), details=(_paint_clouds, _paint_clouds)),
    **dict.fromkeys(("night", "dark"), _DARK),
    "night sky": Scenery(sky=_NIGHT, details=(_paint_stars,)),
    "space": Scenery(sky=((6, 6, 18), (26, 18, 56)), details=(_paint_stars, _paint_stars)),
    **dict.fromkeys(("desert", "sand"), _SAND),
    "beach": replace(_SAND, sky=_DAY, hills=0.0, details=(_paint_sea_behind,)),
    "sunset": Scenery(
        sky=((96, 82, 156), (255, 176, 108)), ground=((150, 92, 92), (84, 52, 72)), details=(_paint_low_sun,)
    ),
    "rain": Scenery(
        sky=((132, 144, 160), (192, 202, 212)),
        ground=((136, 148, 152), (98, 112, 120)),
        details=(_paint_dark_clouds, _paint_rain),
    ),
    "fog": Scenery(
        sky=((206, 213, 220), (226, 231, 235)), ground=((202, 209, 212), (160, 170, 174)), details=(_paint_mist,)
    ),
}

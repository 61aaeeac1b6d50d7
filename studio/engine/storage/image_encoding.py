"""A picture as a file of the wished kind, under a wished number of bytes at the best quality that fits.

The ladder below a limit was measured. JPEG: full colour resolution (4:4:4) down to quality 82, then halved colour (4:2:0) down to 15. PNG: packed
harder, then as a palette where 256 colours hold the picture exactly, and only then as another kind: JPEG, or WebP where transparency is
to be kept. The bytes that are counted are those of the finished file, with all that it carries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import FileWish, Keep
from studio.core.settings import Settings
from studio.engine.metadata import embed

_FULL_COLOUR = (82, 95)  # JPEG quality while colour is kept whole
_HALF_COLOUR = (15, 88)
_LOSSY = {"webp": (10, 95), "avif": (10, 90)}
_MOST_SIDE = {"jpeg": 65_535, "webp": 16_383}  # px that the format can hold
_PACKABLE = 4  # a PNG that is this many times too large is not tried again: packing harder halves it at best
_CLOSE = 0.985  # of the limit: a step of quality changes more than the rest
_COLOURS = 256  # of a palette


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The file's bytes, its ending (".png"), and what the user should know of how it was made."""

    data: bytes
    ending: str
    notes: tuple[str, ...] = ()


def encode(
    image: Image.Image, wish: FileWish | None, settings: Settings, *, infotext: str, recipe: Mapping[str, Any] | None, tool: str
) -> Encoded:  # fmt: skip
    """`image` (RGB, RGBA or L, sRGB) as `wish` says, else as the settings say, with infotext, recipe and the machine-made
    marker inside as far as the wish keeps them, and nothing else.

    Raises:
        InvalidRequest: the format cannot hold a picture of that size, or no quality brings the file under the wished number
            of bytes; `details` has the smallest reached.
    """
    wish = wish or FileWish()
    kind = wish.format or settings.output_format
    _check_side(image, kind)
    if wish.keep is not Keep.ALL:
        infotext, recipe = "", None
    carried = embed.Carried(infotext=infotext, recipe=recipe, tool=tool, marked=wish.keep is not Keep.NOTHING)
    writer = _Writer(_bare(image), carried)
    quality = wish.quality or settings.output_quality
    data = writer.write(kind, quality)
    if wish.max_bytes is None or len(data) <= wish.max_bytes:
        return writer.encoded(data, kind, kind)
    if kind == "png":
        packed = writer.packed(wish.max_bytes, data)
        if len(packed) <= wish.max_bytes:
            return writer.encoded(packed, kind, kind)
        return writer.lossy(wish.max_bytes, "webp" if writer.clear else "jpeg", 100, kind)
    return writer.lossy(wish.max_bytes, kind, quality, kind)


class _Writer:
    """One picture on its way into a file."""

    def __init__(self, image: Image.Image, carried: embed.Carried) -> None:
        self._image = image
        self._carried = carried
        self.clear = _clear(image)

    def write(self, kind: str, quality: int, full_colour: bool | None = None) -> bytes:
        return embed.encode(self._image, kind, quality=quality, full_colour=full_colour, carried=self._carried)

    def packed(self, limit: int, data: bytes) -> bytes:
        """The smallest PNG of the same pixels, when there is hope; `data` is the one that is too large."""
        exact = exact_palette(self._image)
        if exact is None and len(data) > _PACKABLE * limit:
            return data
        return embed.encode(exact or self._image, "png", quality=0, carried=self._carried, small=True)

    def lossy(self, limit: int, kind: str, quality: int, wished: str) -> Encoded:
        """The best file of `kind` and at most `quality` that fits into `limit` bytes."""
        _check_side(self._image, kind)
        smallest = 2**63
        for low, high, colour in _rungs(kind, quality):
            data = best_under(limit, low, high, lambda at, c=colour: self.write(kind, at, c))
            if len(data) <= limit:
                return self.encoded(data, kind, wished, limit)
            smallest = min(smallest, len(data))
        told = "" if not (self._carried.infotext or self._carried.recipe) else ", or keep less than the whole recipe"
        raise InvalidRequest(
            f"The picture does not fit into {limit:,} bytes: {smallest:,} is the least.",
            hint=f"Allow more bytes, make it smaller{told}.",
            details={"max_bytes": limit, "smallest": smallest},
        )

    def encoded(self, data: bytes, kind: str, wished: str, limit: int = 0) -> Encoded:
        """The finished file of `kind` with its notes."""
        notes: list[str] = []
        if kind != wished:
            notes.append(f"Written as {_title(kind)}: as {_title(wished)} it would pass {limit:,} bytes.")
        if self.clear and kind == "jpeg":
            notes.append("Transparency was laid on white: JPEG has none.")
        return Encoded(data=data, ending=embed.ENDINGS[kind], notes=tuple(notes))


def best_under(limit: int, low: int, high: int, write: Callable[[int], bytes]) -> bytes:
    """The file of the highest quality from `low` to `high` that `write` brings to at most `limit` bytes, else the one of
    `low`. The logarithm of the size is nearly a line over quality, so the next try is where that line meets the limit."""
    best = write(high)
    if len(best) <= limit or high <= low:
        return best
    too_large = len(best)
    best = write(low)
    if len(best) > limit:
        return best
    while high - low > 1 and len(best) < _CLOSE * limit:
        share = math.log(limit / len(best)) / math.log(too_large / len(best)) if too_large > len(best) else 0.5
        middle = min(high - 1, max(low + 1, low + round(share * (high - low))))
        data = write(middle)
        if len(data) <= limit:
            low, best = middle, data
        else:
            high, too_large = middle, len(data)
    return best


def exact_palette(image: Image.Image) -> Image.Image | None:
    """The same pixels as a picture with a palette (mode P), None when they have more than 256 colours."""
    if image.mode not in ("RGB", "RGBA"):
        return None
    found = cast("list[tuple[int, tuple[int, ...]]] | None", image.getcolors(_COLOURS))
    if found is None:
        return None
    import numpy as np

    bands = len(image.mode)
    pixels = np.asarray(image).reshape(-1, bands)
    weights = np.asarray((1 << 24, 1 << 16, 1 << 8, 1)[:bands], np.uint32)
    codes = pixels.astype(np.uint32) @ weights
    table = np.asarray([colour for _, colour in found], np.uint32)
    table = table[np.argsort(table @ weights)]
    places = np.searchsorted(table @ weights, codes).astype(np.uint8)
    out = Image.fromarray(places.reshape(image.height, image.width), "P")
    out.putpalette(table.astype(np.uint8).tobytes(), image.mode)
    return out


def _rungs(kind: str, quality: int) -> list[tuple[int, int, bool | None]]:
    """(lowest and highest quality, whether colour is kept whole) in the order in which they are tried."""
    if kind in _LOSSY:
        low, high = _LOSSY[kind]
        return [(low, max(low, min(high, quality)), None)]
    rungs: list[tuple[int, int, bool | None]] = []
    if quality >= _FULL_COLOUR[0]:
        rungs.append((_FULL_COLOUR[0], min(_FULL_COLOUR[1], quality), True))
    return [*rungs, (_HALF_COLOUR[0], max(_HALF_COLOUR[0], min(_HALF_COLOUR[1], quality)), False)]


def _check_side(image: Image.Image, kind: str) -> None:
    most = _MOST_SIDE.get(kind)
    if most is not None and max(image.size) > most:
        raise InvalidRequest(
            f"{_title(kind)} holds at most {most:,} px a side; the picture has {image.width}×{image.height}.",
            hint="Choose PNG, or make it smaller.",
        )


def _bare(image: Image.Image) -> Image.Image:
    """`image` without what it carries itself (profile, EXIF, text), which Pillow would write along."""
    if not image.info:
        return image
    bare = image.copy()
    bare.info = {}
    return bare


def _clear(image: Image.Image) -> bool:
    """Whether any of the picture can be seen through."""
    return image.mode == "RGBA" and image.getextrema()[3][0] < 255  # type: ignore[index]


def _title(kind: str) -> str:
    return {"webp": "WebP"}.get(kind, kind.upper())

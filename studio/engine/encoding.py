"""A picture as a file of the wished kind, under a wished number of bytes at the best quality that fits.

The ladder below a limit was measured: full colour resolution (4:4:4) down to quality 82, then halved colour (4:2:0) down to 15. A PNG that is too
large becomes a JPEG. The bytes that are counted are those of the finished file, with all that it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import FileWish, Keep
from studio.core.settings import Settings
from studio.engine import embed

_FULL_COLOUR = (82, 95)  # JPEG quality while colour is kept whole
_HALF_COLOUR = (15, 88)
_LOSSY = {"webp": (40, 95), "avif": (35, 90)}


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The file's bytes, its ending (".png"), and what the user should know of how it was made."""

    data: bytes
    ending: str
    notes: tuple[str, ...] = ()


def encode(
    image: Image.Image, wish: FileWish | None, settings: Settings, *, infotext: str, recipe: Mapping[str, Any] | None, tool: str
) -> Encoded:  # fmt: skip
    """`image` as `wish` says, else as the settings say, with infotext, recipe and the machine-made marker inside as far as
    the wish keeps them.

    Raises:
        InvalidRequest: no quality brings the file under the wished number of bytes; `details` has the smallest reached.
    """
    wish = wish or FileWish()
    kind = wish.format or settings.output_format
    quality = wish.quality or settings.output_quality
    if wish.keep is not Keep.ALL:
        infotext, recipe = "", None

    def written(as_kind: str, at: int, full_colour: bool | None = None) -> bytes:
        carried = embed.Carried(infotext=infotext, recipe=recipe, tool=tool, marked=wish.keep is not Keep.NOTHING)
        return embed.encode(image, as_kind, quality=at, full_colour=full_colour, carried=carried)

    notes = ("Transparency was laid on white: JPEG has none.",) if kind == "jpeg" and _clear(image) else ()
    data = written(kind, quality)
    if wish.max_bytes is None or len(data) <= wish.max_bytes:
        return Encoded(data=data, ending=embed.ENDINGS[kind], notes=notes)
    return _under(wish.max_bytes, kind, quality, written, notes)


def _under(
    limit: int, kind: str, quality: int, written: Callable[[str, int, bool | None], bytes], notes: tuple[str, ...]
) -> Encoded:
    smallest = 2**63
    for as_kind, (low, high), colour in _rungs(kind, quality):
        data = _best(limit, low, high, lambda at, k=as_kind, c=colour: written(k, at, c))
        if len(data) <= limit:
            told = (
                (f"Written as {as_kind.upper()}: as {kind.upper()} it would pass {limit:,} bytes.",)
                if as_kind != kind
                else ()
            )
            return Encoded(data=data, ending=embed.ENDINGS[as_kind], notes=(*notes, *told))
        smallest = min(smallest, len(data))
    raise InvalidRequest(
        f"The picture does not fit into {limit:,} bytes: {smallest:,} is the least.", hint="Allow more bytes, or make it smaller.",
        details={"max_bytes": limit, "smallest": smallest},
    )  # fmt: skip


def _rungs(kind: str, quality: int) -> list[tuple[str, tuple[int, int], bool | None]]:
    """(kind, lowest and highest quality, whether colour is kept whole) in the order in which they are tried."""
    if kind in _LOSSY:
        low, high = _LOSSY[kind]
        return [(kind, (low, max(low, min(high, quality))), None)]
    top = quality if kind == "jpeg" else _FULL_COLOUR[1]
    rungs: list[tuple[str, tuple[int, int], bool | None]] = [("jpeg", _HALF_COLOUR, False)]
    if top >= _FULL_COLOUR[0]:
        rungs.insert(0, ("jpeg", (_FULL_COLOUR[0], max(_FULL_COLOUR[0], min(_FULL_COLOUR[1], top))), True))
    return rungs


def _best(limit: int, low: int, high: int, written: Callable[[int], bytes]) -> bytes:
    """The file of the highest quality from `low` to `high` that is at most `limit` bytes, else the one of `low`."""
    best = written(high)
    if len(best) <= limit:
        return best
    best = written(low)
    if len(best) > limit:
        return best
    while high - low > 1:
        middle = (low + high) // 2
        data = written(middle)
        if len(data) <= limit:
            low, best = middle, data
        else:
            high = middle
    return best


def _clear(image: Image.Image) -> bool:
    """Whether any of the picture can be seen through."""
    return image.mode == "RGBA" and image.getextrema()[3][0] < 255  # type: ignore[index]

"""Encode an image in a format, below a number of bytes at the best quality that fits.

The ladder below a limit was measured. JPEG: full colour resolution (4:4:4) down to quality 82, then halved colour
(4:2:0) down to 15. PNG: packed harder, then as a palette where 256 colours hold the image exactly, and only then as
another kind: JPEG, or WebP where transparency is to be kept. The bytes that are counted are those of the finished file,
with all that it carries.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import MetadataPolicy, OutputOptions
from studio.core.ground import WHITE, describe_faint_ground, flatten_on_ground
from studio.core.settings import Settings
from studio.engine.metadata import embed

if TYPE_CHECKING:
    from studio.engine.storage.signing import FileSigner

_FULL_COLOUR = (82, 95)  # JPEG quality while colour is kept whole
_HALF_COLOUR = (15, 88)
_LOSSY_QUALITY = {"webp": (10, 95), "avif": (10, 90)}
_MAX_SIDES = {"jpeg": 65_535, "webp": 16_383}  # px that the format can hold
_MAX_PACK_RATIO = 4  # a PNG that is this many times too large is not tried again: packing harder halves it at best
_TARGET_FILL = 0.985  # of the limit: a step of quality changes more than the rest
_MAX_COLOURS = 256  # of a palette
_SIGNING_SLACK = 64  # bytes by which credentials may differ between two files


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """The file's bytes, its kind and ending (".png"), and what the user should know of how it was made."""

    data: bytes
    kind: str
    ending: str
    notes: tuple[str, ...] = ()


def encode_output(
    image: Image.Image,
    options: OutputOptions | None,
    settings: Settings,
    *,
    carried: embed.EmbeddedMetadata,
    signer: FileSigner | None = None,
) -> EncodedImage:
    """`image` (RGB, RGBA or L, sRGB) as `options` say, else as the settings say, with the parts of
    `carried` that they keep inside, and nothing else; signed by `signer`, whose bytes count.

    Raises:
        InvalidRequest: the format cannot hold an image of that size, or no quality brings the file under the requested
            number of bytes; `details` has the smallest reached.
    """
    options = options or OutputOptions()
    kind = options.format or settings.output_format
    _check_side(image, kind)
    if options.keep is not MetadataPolicy.ALL:
        carried = dataclasses.replace(carried, infotext="", recipe=None, marked=options.keep is MetadataPolicy.MARKER)
    writer = _Writer(_strip_metadata(image), carried, options.ground)
    quality = options.quality or settings.output_quality
    if signer is not None and options.max_bytes is not None:
        return _encode_signed(writer, kind, quality, options.max_bytes, signer)
    encoded = _encode_within(writer, kind, quality, options.max_bytes)
    if signer is None:
        return encoded
    data = signer.sign(encoded.data, encoded.kind)
    return dataclasses.replace(encoded, data=data, notes=(*encoded.notes, *signer.notes))


def _encode_within(writer: _Writer, kind: str, quality: int, limit: int | None) -> EncodedImage:
    """The file of at most `limit` bytes; raises InvalidRequest where there is none."""
    data = writer.write(kind, quality)
    if limit is None or len(data) <= limit:
        return writer.build_result(data, kind, kind)
    if kind == "png":
        packed = writer.pack_png(limit, data)
        if len(packed) <= limit:
            return writer.build_result(packed, kind, kind)
        return writer.fit_lossy(limit, "webp" if writer.clear else "jpeg", 100, kind)
    return writer.fit_lossy(limit, kind, quality, kind)


def _encode_signed(writer: _Writer, kind: str, quality: int, limit: int, signer: FileSigner) -> EncodedImage:
    """The signed file of at most `limit` bytes, with as much of the image's past as fits; raises InvalidRequest where
    not even the unsigned one does."""
    for level in signer.list_levels(kind, limit):
        room = limit - level.bytes
        try:
            encoded = _encode_within(writer, kind, quality, room)
            data = signer.sign_level(encoded.data, encoded.kind, level)
            if len(data) > limit:  # by the few bytes in which kinds and sizes differ
                encoded = _encode_within(writer, kind, quality, room - (len(data) - limit) - _SIGNING_SLACK)
                data = signer.sign_level(encoded.data, encoded.kind, level)
        except InvalidRequest:
            if level.order is None:
                raise
            continue
        if len(data) <= limit:
            notes = (*encoded.notes, *signer.notes, *filter(None, [level.note]))
            return dataclasses.replace(encoded, data=data, notes=notes)
    raise AssertionError("the last level signs nothing and fits, or raises")


class _Writer:
    """One image on its way into a file."""

    def __init__(self, image: Image.Image, carried: embed.EmbeddedMetadata, ground: str) -> None:
        self._image = image
        self._ground = ground
        self._carried = carried
        self.clear = _has_transparency(image)

    def write(self, kind: str, quality: int, full_colour: bool | None = None) -> bytes:
        image = flatten_on_ground(self._image, self._ground) if kind == "jpeg" else self._image
        return embed.encode_image(image, kind, quality=quality, full_colour=full_colour, carried=self._carried)

    def pack_png(self, limit: int, data: bytes) -> bytes:
        """The smallest PNG of the same pixels, when there is hope; `data` is the one that is too large."""
        exact = convert_to_palette(self._image)
        if exact is None and len(data) > _MAX_PACK_RATIO * limit:
            return data
        return embed.encode_image(exact or self._image, "png", quality=0, carried=self._carried, small=True)

    def fit_lossy(self, limit: int, kind: str, quality: int, requested: str) -> EncodedImage:
        """The best file of `kind` and at most `quality` that fits into `limit` bytes."""
        _check_side(self._image, kind)
        smallest = 2**63
        for low, high, colour in _list_quality_ranges(kind, quality):
            data = encode_under_limit(limit, low, high, lambda at, c=colour: self.write(kind, at, c))
            if len(data) <= limit:
                return self.build_result(data, kind, requested, limit)
            smallest = min(smallest, len(data))
        advice = "" if not (self._carried.infotext or self._carried.recipe) else ", or save less metadata"
        raise InvalidRequest(
            f"The image does not fit into {limit:,} bytes; the minimum is {smallest:,}.",
            hint=f"Allow more bytes, make it smaller{advice}.",
            details={"max_bytes": limit, "smallest": smallest},
        )

    def build_result(self, data: bytes, kind: str, requested: str, limit: int = 0) -> EncodedImage:
        """The finished file of `kind` with its notes."""
        notes: list[str] = []
        if kind != requested:
            notes.append(
                f"Written as {_get_format_title(kind)}, as {_get_format_title(requested)} would exceed {limit:,} bytes."
            )
        if self.clear and kind == "jpeg":
            colour = "white" if self._ground.lower() == WHITE else self._ground
            notes.append(f"Transparency was laid on {colour}: JPEG has none.")
            notes += filter(None, [describe_faint_ground(self._image, self._ground)])
        left_out = self._list_left_out(data)
        if left_out:
            notes.append(
                f"Too long for {_get_format_title(kind)} and left out: {' and '.join(left_out)}. PNG holds it."
            )
        return EncodedImage(data=data, kind=kind, ending=embed.FILE_EXTENSIONS[kind], notes=tuple(notes))

    def _list_left_out(self, data: bytes) -> list[str]:
        """The metadata that had no room in the file."""
        if not (self._carried.infotext or self._carried.recipe) or not self._carried.marked:
            return []
        with Image.open(io.BytesIO(data)) as file:
            written = embed.read_metadata(file)
        parts = (
            ("infotext", self._carried.infotext, written.infotext),
            ("recipe", self._carried.recipe, written.recipe),
        )
        return [name for name, wanted, there in parts if wanted and not there]


def encode_under_limit(limit: int, low: int, high: int, write: Callable[[int], bytes]) -> bytes:
    """The file of the highest quality from `low` to `high` that `write` brings to at most `limit` bytes, else the one
    of `low`. The logarithm of the size is nearly a line over quality, so the next try is where that line meets the
    limit."""
    best = write(high)
    if len(best) <= limit or high <= low:
        return best
    too_large = len(best)
    best = write(low)
    if len(best) > limit:
        return best
    while high - low > 1 and len(best) < _TARGET_FILL * limit:
        share = math.log(limit / len(best)) / math.log(too_large / len(best)) if too_large > len(best) else 0.5
        middle = min(high - 1, max(low + 1, low + round(share * (high - low))))
        data = write(middle)
        if len(data) <= limit:
            low, best = middle, data
        else:
            high, too_large = middle, len(data)
    return best


def convert_to_palette(image: Image.Image) -> Image.Image | None:
    """The same pixels as an image with a palette (mode P), None when they have more than 256 colours."""
    if image.mode not in ("RGB", "RGBA"):
        return None
    found = cast("list[tuple[int, tuple[int, ...]]] | None", image.getcolors(_MAX_COLOURS))
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


def _list_quality_ranges(kind: str, quality: int) -> list[tuple[int, int, bool | None]]:
    """(lowest and highest quality, whether colour is kept whole) in the order in which they are tried."""
    if kind in _LOSSY_QUALITY:
        low, high = _LOSSY_QUALITY[kind]
        return [(low, max(low, min(high, quality)), None)]
    rungs: list[tuple[int, int, bool | None]] = []
    if quality >= _FULL_COLOUR[0]:
        rungs.append((_FULL_COLOUR[0], min(_FULL_COLOUR[1], quality), True))
    return [*rungs, (_HALF_COLOUR[0], max(_HALF_COLOUR[0], min(_HALF_COLOUR[1], quality)), False)]


def _check_side(image: Image.Image, kind: str) -> None:
    most = _MAX_SIDES.get(kind)
    if most is not None and max(image.size) > most:
        raise InvalidRequest(
            f"{_get_format_title(kind)} holds at most {most:,} px a side; the image has {image.width}×{image.height}.",
            hint="Choose PNG, or make it smaller.",
        )


def _strip_metadata(image: Image.Image) -> Image.Image:
    """`image` without what it carries itself (profile, EXIF, text), which Pillow would write along."""
    if not image.info:
        return image
    bare = image.copy()
    bare.info = {}
    return bare


def _has_transparency(image: Image.Image) -> bool:
    """Whether any of the image can be seen through."""
    return image.mode == "RGBA" and image.getextrema()[3][0] < 255  # type: ignore[index]


def _get_format_title(kind: str) -> str:
    return {"webp": "WebP"}.get(kind, kind.upper())

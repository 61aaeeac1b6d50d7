"""A text in an image that nobody sees and a function reads back.

Quantization index modulation (Chen and Wornell, IEEE Transactions on Information Theory 47, 2001) of the cosine
transform of the luminance, taken at 256 × 256 px whatever the image's own size: so the text survives resizing down to
SURE_SIDE, and JPEG of quality 60 on the way. What makes the image brighter or duller scales the lattice, so the reader
tries a range of scales. It does not survive cropping, rotation, or drawing over the image.
"""

from __future__ import annotations

import binascii
import hashlib
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops

from studio.core.errors import InvalidRequest

if TYPE_CHECKING:
    import numpy as np

MAX_HIDDEN_BYTES = 16  # of the text in UTF-8
MIN_HIDDEN_SIDE = 128  # px that an image needs at least
ROBUST_SIDE = 256  # px from which it survives JPEG and resizing; a smaller image keeps it only as it is
_TRANSFORM_SIDE = 256  # px of the transform
_BAND = (8, 96)  # radii in it that carry: above what is seen as brightness, below what resizing takes away
_STEP = 20.0  # levels; 43 dB below the image, and twice what JPEG of quality 85 needs
_SCALES = (0.7, 1.45, 80)  # of the lattice that are tried: lowest, highest, how many
_BITS = 8 * (MAX_HIDDEN_BYTES + 2)  # the text and its checksum
_SEED = b"easel hidden text 1"  # scatters the bits; a new one makes all older texts unreadable


def hide_text(image: Image.Image, text: str) -> Image.Image:
    """`image` (RGB or RGBA) with `text`, at most HIDDEN_BYTES long in UTF-8, where nobody sees it.

    Raises:
        InvalidRequest: the text is too long or not printable, the image too small, or too extreme to carry it.
    """
    import numpy as np

    data = text.encode(errors="replace")
    if len(data) > MAX_HIDDEN_BYTES or not text.isprintable():
        raise InvalidRequest(
            f"The hidden text is longer than {MAX_HIDDEN_BYTES} bytes or not printable.", hint="Shorten it."
        )
    if min(image.size) < MIN_HIDDEN_SIDE:
        raise InvalidRequest(
            f"An image of {image.width}×{image.height} is too small for hidden text.",
            hint=f"Use at least {MIN_HIDDEN_SIDE} px a side.",
        )
    payload = data.ljust(MAX_HIDDEN_BYTES, b"\0")
    payload += binascii.crc_hqx(payload, 0xFFFF).to_bytes(2, "big")
    added = np.asarray(
        Image.fromarray(_compute_residue(image, payload)).resize(image.size, Image.Resampling.BICUBIC)
    ).round()
    hidden = ImageChops.add(image.convert("RGB"), _make_grey(np.maximum(added, 0)))
    hidden = ImageChops.subtract(hidden, _make_grey(np.maximum(-added, 0)))
    if image.mode == "RGBA":
        hidden.putalpha(image.getchannel("A"))
    if _read_exactly(hidden) != text:
        raise InvalidRequest(
            "Hidden text does not fit into this image.", hint="The image is too dark or too bright. Use another one."
        )
    return hidden


def _read_exactly(image: Image.Image) -> str | None:
    """The text of an image whose brightness nobody changed."""
    places, dither = _plan_coefficients()
    return _decode(_transform_luminance(image).ravel()[places] / _STEP - dither)


def read_hidden(image: Image.Image) -> str | None:
    """The text that `hide` put into the image, None when there is none that can be read any more. About 0.05 s.

    With the checksum and the demand for printable text a reading by accident is rarer than one in 10**6."""
    import numpy as np

    if min(image.size) < 2:
        return None
    places, dither = _plan_coefficients()
    found = _transform_luminance(image).ravel()[places]
    scales = (1.0, *np.geomspace(*_SCALES))
    return next(filter(None, (_decode(found / (_STEP * scale) - dither) for scale in scales)), None)


def _decode(phases: np.ndarray[Any, Any]) -> str | None:
    """The text of coefficients that are given as multiples of the lattice's step, less their offsets."""
    import numpy as np

    bits = np.cos(2 * np.pi * phases).sum(axis=0) < 0
    data = np.packbits(bits).tobytes()
    if binascii.crc_hqx(data[:-2], 0xFFFF).to_bytes(2, "big") != data[-2:]:
        return None
    try:
        text = data[:-2].rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return None
    return text if text and text.isprintable() else None


def _make_grey(levels: np.ndarray[Any, Any]) -> Image.Image:
    band = Image.fromarray(levels.astype("uint8"))
    return Image.merge("RGB", (band, band, band))


def _compute_residue(image: Image.Image, payload: bytes) -> np.ndarray[Any, Any]:
    """The change of the luminance at _SIDE × _SIDE px: it moves each coefficient to the nearest point of its bit's
    lattice."""
    import numpy as np
    from scipy.fft import idctn

    places, dither = _plan_coefficients()
    bits = np.unpackbits(np.frombuffer(payload, np.uint8))
    found = _transform_luminance(image).ravel()[places]
    lattice = (dither + bits * 0.5) * _STEP
    moved = np.zeros(_TRANSFORM_SIDE * _TRANSFORM_SIDE, np.float32)
    moved[places] = np.round((found - lattice) / _STEP) * _STEP + lattice - found
    spread: Any = idctn(moved.reshape(_TRANSFORM_SIDE, _TRANSFORM_SIDE), norm="ortho")
    return spread.astype(np.float32)


def _transform_luminance(image: Image.Image) -> np.ndarray[Any, Any]:
    import numpy as np
    from scipy.fft import dctn

    grey = image.convert("L") if image.mode != "RGBA" else image.convert("RGB").convert("L")
    small = grey.convert("F").resize((_TRANSFORM_SIDE, _TRANSFORM_SIDE), Image.Resampling.LANCZOS)
    spread: Any = dctn(np.asarray(small, np.float32), norm="ortho")
    return spread


def _plan_coefficients() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(places of the coefficients, their offsets 0 to 1), a column per bit. From a hash and not from a generator of
    numpy, whose numbers may change between versions."""
    import numpy as np

    down, across = np.mgrid[:_TRANSFORM_SIDE, :_TRANSFORM_SIDE]
    radius = np.hypot(down, across)
    carriers = np.flatnonzero((radius >= _BAND[0]) & (radius < _BAND[1]))
    draws = np.frombuffer(hashlib.shake_256(_SEED).digest(8 * len(carriers)), "<u4").reshape(2, -1)
    count = len(carriers) // _BITS * _BITS
    places = carriers[np.argsort(draws[0], kind="stable")][:count].reshape(-1, _BITS)
    return places, (draws[1][:count] / 2**32).reshape(-1, _BITS)

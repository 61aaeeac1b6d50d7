"""Decode one image file to plain 8-bit pixels: used in this process for small harmless ones, and run as a program of
its own (`python decode.py`, see `main`) for all others, so that it may be killed. Imports nothing of the studio.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import sys
import warnings
from collections.abc import Iterable
from typing import Any, cast

from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

MAX_ICC_BYTES = 4 * 1024 * 1024  # bytes of a colour profile
_JPEG_END = b"\xff\xd9"
MODES = ("L", "RGB", "RGBA")
_BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _CHANNELS_APART = 258, 284, 2  # TIFF's numbers
DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    Image.DecompressionBombError,
)
"""Errors that Pillow raises for broken files, including struct.error."""


def decode_image(data: bytes, formats: tuple[str, ...], max_side: int, max_pixels: int) -> Image.Image:
    """`data` as an image of mode L, RGB or RGBA in sRGB, upright, without any metadata; of several frames the first.

    Raises:
        TooBig: its sides or pixels pass the limits; seen in the header, before pixels are decoded.
        One of FAILURES, or struct.error: it is broken, truncated, or of another format.
    """
    try:
        return _decode(data, formats, max_side, max_pixels)
    except OSError:
        if not data.startswith(b"\xff\xd8") or data.rstrip(b"\0").endswith(_JPEG_END):
            raise
    return _decode_endless_jpeg(data, formats, max_side, max_pixels)


def _decode_endless_jpeg(data: bytes, formats: tuple[str, ...], max_side: int, max_pixels: int) -> Image.Image:
    """A JPEG whose end marker alone is missing. When pixels are missing too, what comes behind changes them.

    Raises:
        OSError: pixels are missing. ImageTooLarge: as in `decode_image`.
    """
    ended = _decode(data + _JPEG_END, formats, max_side, max_pixels)
    filled = _decode(data + b"\x55\xaa" * 512 + _JPEG_END, formats, max_side, max_pixels)
    if ended.tobytes() != filled.tobytes():
        raise OSError("image file is truncated")
    return ended


def _decode(data: bytes, formats: tuple[str, ...], max_side: int, max_pixels: int) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=formats) as image:
        width, height = image.size
        if max(width, height) > max_side or width * height > max_pixels:
            raise ImageTooLarge(f"{width}×{height}")
        image.load()
        profile = find_profile(image, data)
        plain = to_srgb(apply_orientation(image), profile)
    clean = plain.copy()
    clean.info = {}
    return clean


class ImageTooLarge(Exception):
    """More pixels than allowed; the text is the size."""


def apply_orientation(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; a broken EXIF block counts as none."""
    with contextlib.suppress(*DECODE_ERRORS):
        return ImageOps.exif_transpose(image)
    return image


def find_profile(image: Image.Image, data: bytes) -> bytes | None:
    """The ICC profile of its colours: its own, else one built from what the file says in another way (PNG's cICP, gAMA
    and cHRM, AVIF's nclx, EXIF's Adobe RGB); None for sRGB and for what is broken or oversized."""
    profile: Any = image.info.get("icc_profile")
    if image.format == "PNG" and (code := _find_png_chunk(data, b"cICP")) and len(code) == 4:
        return _build_coded_profile(code[0], code[1])  # which wins over every other chunk
    if isinstance(profile, bytes):
        return profile if 128 <= len(profile) <= MAX_ICC_BYTES else None
    if image.format == "AVIF" and (start := data.find(b"colrnclx")) >= 0 and len(data) >= start + 12:
        primaries, transfer = struct.unpack(">HH", data[start + 8 : start + 12])
        return _build_coded_profile(primaries, transfer)
    if image.format == "PNG" and "srgb" not in image.info:
        return _build_gamma_profile(image)
    return build_profile(*_ADOBE_RGB) if _is_adobe_rgb(image) else None


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """In mode L, RGB or RGBA, its colours moved from `profile` to sRGB; a broken profile, or one for other kinds of
    pixels, counts as none."""
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    plain = image if image.mode == "CMYK" else to_eight_bit(image)
    if profile is None:
        return to_eight_bit(plain)
    with contextlib.suppress(*DECODE_ERRORS, ImageCms.PyCMSError):
        if not grey:
            return _move_colours(plain, profile, "RGBA" if plain.mode == "RGBA" else "RGB")
        if profile[16:20] == b"GRAY" or profile[48:52] == _OWN_MARK:
            return _move_grey(plain, profile)
    return to_eight_bit(plain)


def _move_grey(plain: Image.Image, profile: bytes) -> Image.Image:
    values = plain.getchannel(0)
    if profile[16:20] != b"GRAY":
        values = Image.merge("RGB", (values, values, values))
    moved = _move_colours(values, profile, "RGB").getchannel("G")
    return moved if plain.mode == "L" else Image.merge("RGBA", (moved, moved, moved, plain.getchannel("A")))


def _move_colours(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    create: Any = ImageCms.createProfile  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    moved = ImageCms.profileToProfile(image, io.BytesIO(profile), create("sRGB"), outputMode=mode)
    return moved if moved is not None else image


_Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue."""
_D65 = (0.3127, 0.3290)
_PRIMARIES: dict[int, _Chromaticities] = {  # ITU-T H.273, by the code of colour primaries
    1: (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),  # sRGB
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_CURVES: dict[int, tuple[float, ...]] = {4: (2.2,), 5: (2.8,), 8: (1.0,)}
"""By the code of transfer characteristics; those of video are shown as sRGB, as browsers do."""
_HDR_CURVES = (16, 18)  # PQ and HLG, which have no place in 8 bits without an opinion
_ADOBE_RGB = ((*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), (2.19921875,))
_SRGB_GAMMA = 0.45455
_OWN_MARK = b"easl"
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
_Matrix = tuple[tuple[float, ...], ...]


def _find_png_chunk(data: bytes, kind: bytes) -> bytes | None:
    """The content of the first chunk of that kind before the pixels."""
    place = 8
    while place + 8 <= len(data):
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if name == kind:
            return data[place + 8 : place + 8 + length]
        if name == b"IDAT":
            return None
        place += length + 12
    return None


def _build_coded_profile(primaries: int, transfer: int) -> bytes | None:
    """The profile of H.273's codes; None where they mean sRGB, are unknown, or mean high dynamic range."""
    curve = _CURVES.get(transfer, _SRGB_CURVE)
    if primaries not in _PRIMARIES or transfer in _HDR_CURVES or (primaries == 1 and curve == _SRGB_CURVE):
        return None
    return build_profile(_PRIMARIES[primaries], curve)


def _build_gamma_profile(image: Image.Image) -> bytes | None:
    """The profile of a PNG's gAMA and cHRM chunks."""
    gamma, primaries = image.info.get("gamma"), image.info.get("chromaticity")
    if not isinstance(gamma, float) or not 0.1 <= gamma <= 10:
        return None
    chromaticities = _PRIMARIES[1]
    if isinstance(primaries, tuple) and len(cast("tuple[float, ...]", primaries)) == 8:
        chromaticities = cast("_Chromaticities", primaries)
    as_srgb = abs(gamma - _SRGB_GAMMA) < 0.01
    if as_srgb and all(abs(a - b) < 0.005 for a, b in zip(chromaticities, _PRIMARIES[1], strict=True)):
        return None
    with contextlib.suppress(ArithmeticError, struct.error):  # primaries that span nothing
        return build_profile(chromaticities, _SRGB_CURVE if as_srgb else (1 / gamma,))
    return None


def _is_adobe_rgb(image: Image.Image) -> bool:
    """Whether EXIF says so, as cameras do: by the colour space or by DCF's mark R03."""
    with contextlib.suppress(*DECODE_ERRORS, struct.error):
        exif = image.getexif()
        if exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace) == 2:
            return True
        return str(exif.get_ifd(ExifTags.IFD.Interop).get(1, "")).startswith("R03")
    return False


def build_profile(chromaticities: _Chromaticities, curve: tuple[float, ...]) -> bytes:
    """An ICC profile (version 4) of an RGB space; `curve` holds the parameters of ICC's parametric curve: the exponent,
    or exponent, a, b, c, d.

    Raises:
        ArithmeticError, struct.error: the chromaticities make no space.
    """
    white, *primaries = ((x / y, 1.0, (1 - x - y) / y) for x, y in zip(*[iter(chromaticities)] * 2, strict=True))
    columns = _transpose(tuple(primaries))
    shares = _multiply(_invert(columns), _transpose((white,)))
    scaled = tuple(tuple(cell * share[0] for cell, share in zip(row, shares, strict=True)) for row in columns)
    cones = zip(_multiply(_BRADFORD, _transpose((_D50,))), _multiply(_BRADFORD, _transpose((white,))), strict=True)
    gains = tuple(tuple((to[0] / of[0]) * (row == at) for at in range(3)) for row, (to, of) in enumerate(cones))
    adapted = _transpose(_multiply(_invert(_BRADFORD), _multiply(gains, _multiply(_BRADFORD, scaled))))
    parametric = struct.pack(">4sIHH", b"para", 0, 3 if len(curve) == 5 else 0, 0) + _pack_fixed(curve)
    tags = {b"wtpt": b"XYZ " + bytes(4) + _pack_fixed(_D50)}
    for letter, colour in zip((b"r", b"g", b"b"), adapted, strict=True):
        tags |= {letter + b"XYZ": b"XYZ " + bytes(4) + _pack_fixed(colour), letter + b"TRC": parametric}
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s12s4s", size, bytes(4), 0x04200000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp")
    head += bytes(8) + _OWN_MARK + bytes(16) + _pack_fixed(_D50)
    return head.ljust(128, b"\0") + table + body


def _pack_fixed(values: Iterable[float]) -> bytes:
    """As ICC's s15Fixed16Number."""
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _transpose(matrix: _Matrix) -> _Matrix:
    return tuple(zip(*matrix, strict=True))


def _multiply(left: _Matrix, right: _Matrix) -> _Matrix:
    return tuple(
        tuple(sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*right, strict=True))
        for row in left
    )


def _invert(matrix: _Matrix) -> _Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    minors = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    determinant = a * minors[0][0] + b * minors[1][0] + c * minors[2][0]
    return tuple(tuple(cell / determinant for cell in row) for row in minors)


def to_eight_bit(image: Image.Image) -> Image.Image:
    """In mode L, RGB or RGBA. 16-bit grey is scaled, not clipped; a palette or a transparent colour becomes RGBA when
    needed."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    if image.mode == "I":
        return image.point(lambda value: value * (255 / 65535) + 0.5).convert("L")
    if image.mode == "F":
        brightest = image.getextrema()[1]
        return image.point(
            lambda value: value * (255.0 if isinstance(brightest, float) and brightest <= 1 else 1.0) + 0.5
        ).convert("L")
    if image.mode == "1":
        return image.convert("L")
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa"):
        return image.convert("RGBA")
    return image if image.mode in MODES else image.convert("RGB")


def is_unusual_tiff(data: bytes) -> bool:
    """Whether Pillow does not know its kind of pixels, or reads them wrongly: 16 bits with the channels apart."""
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            tags: Any = getattr(image, "tag_v2", {})
            return tags.get(_PLANAR_CONFIGURATION) == _CHANNELS_APART and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8
    except UnidentifiedImageError:
        return True


def decode_unusual_tiff(data: bytes, max_side: int, max_pixels: int) -> Image.Image:
    """The first page of a TIFF whose kind of pixels Pillow does not know (colours of 32 or 64 bits or of floating
    point, channels apart), in mode L, RGB or RGBA. Raises ImageTooLarge, and whatever tifffile raises for broken files.
    """
    import numpy as np
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages.first
        width, height = int(page.imagewidth), int(page.imagelength)
        if max(width, height) > max_side or width * height > max_pixels:
            raise ImageTooLarge(f"{width}×{height}")
        values: Any = page.asarray()
        axes, inverted = str(page.axes), page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"pixels in the order {axes}")
    values = np.atleast_3d(np.moveaxis(values, 0, -1) if axes == "SYX" else values)
    if np.issubdtype(values.dtype, np.integer):
        highest = float(np.iinfo(values.dtype).max)
    else:
        values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
        peak = float(values.max(initial=0.0))
        highest = 1.0 if peak <= 1 else max(255.0, peak)
    plain = np.clip(values * (255.0 / highest) + 0.5, 0, 255).astype(np.uint8)
    plain = 255 - plain if inverted else plain
    channels = plain.shape[2]
    if channels == 2:
        plain = np.concatenate([plain[..., :1]] * 3 + [plain[..., 1:]], axis=2)
    return Image.fromarray(plain[..., 0] if channels == 1 else np.ascontiguousarray(plain[..., :4]))


def main() -> int:
    """Read one JSON line of limits and then the file from standard input; write one JSON line and the raw pixels.

    0: decoded. 3: too big, the size is written. Anything else: not a usable image, or killed.
    """
    limits = json.loads(sys.stdin.buffer.readline())
    _limit_resources(limits["memory"], limits["seconds"])
    Image.MAX_IMAGE_PIXELS = limits["max_pixels"]
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
    data = sys.stdin.buffer.read()
    try:
        if limits["formats"] == ["TIFF"] and is_unusual_tiff(data):
            image = decode_unusual_tiff(data, limits["max_side"], limits["max_pixels"])
        else:
            image = decode_image(data, tuple(limits["formats"]), limits["max_side"], limits["max_pixels"])
    except ImageTooLarge as error:
        sys.stdout.buffer.write(str(error).encode())
        return 3
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        sys.stdout.buffer.write(b"far over the limit")
        return 3
    sys.stdout.buffer.write(json.dumps([image.mode, *image.size]).encode() + b"\n" + image.tobytes())
    return 0


def _limit_resources(memory: int, seconds: int) -> None:
    """Let the system stop us at `memory` bytes or `seconds` of processor time, and write no core file."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main())

"""Decode one image file to plain 8-bit pixels: used in this process for small harmless ones, and run as a program of
its own (`python decode.py`, see `main`) for all others, so that it may be killed. Imports nothing of the studio.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from typing import Any

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

MAX_ICC_BYTES = 4 * 1024 * 1024  # bytes of a colour profile
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
"""What Pillow raises for broken files, beside struct.error."""


def decode_image(data: bytes, formats: tuple[str, ...], max_side: int, max_pixels: int) -> Image.Image:
    """`data` as an image of mode L, RGB or RGBA in sRGB, upright, without any metadata; of several frames the first.

    Raises:
        TooBig: its sides or pixels pass the limits; seen in the header, before pixels are decoded.
        One of FAILURES, or struct.error: it is broken, truncated, or of another format.
    """
    with Image.open(io.BytesIO(data), formats=formats) as image:
        width, height = image.size
        if max(width, height) > max_side or width * height > max_pixels:
            raise ImageTooLarge(f"{width}×{height}")
        image.load()
        image = apply_orientation(image)
        plain = to_eight_bit(to_srgb(image))
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


def to_srgb(image: Image.Image) -> Image.Image:
    """Its colours moved from its ICC profile to sRGB; a broken or oversized profile counts as none."""
    if (
        image.mode == "P" or "transparency" in image.info
    ):  # whose colours no transform reaches, or whose opacity it drops
        image = to_eight_bit(image)
    profile: Any = image.info.get("icc_profile")
    if (
        not isinstance(profile, bytes)
        or not 128 <= len(profile) <= MAX_ICC_BYTES
        or image.mode not in ("RGB", "RGBA", "L", "CMYK")
    ):
        return image
    target: Any = {"L": "L", "RGBA": "RGBA"}.get(image.mode, "RGB")
    if target == "L":
        return image  # a grey ramp: curves differ little, and most files carry it by mistake
    with contextlib.suppress(*DECODE_ERRORS, ImageCms.PyCMSError):
        create: Any = ImageCms.createProfile  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        moved = ImageCms.profileToProfile(image, io.BytesIO(profile), create("sRGB"), outputMode=target)
        if moved is not None:
            return moved
    return image


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

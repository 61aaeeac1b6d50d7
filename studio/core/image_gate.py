"""The one gate through which every image enters the studio.

Each file is looked at as bytes first (format, size, number of chunks and scans), then by its header (sides, pixels),
then decoded. Where the line runs: PNG, JPEG, WebP and GIF of up to 16 megapixels whose decoding is cheap for sure are
decoded here, in milliseconds; everything else (AVIF, TIFF, BMP, anything larger, JPEGs of many scans) in a process of
its own with limits on time and memory, which costs about 0.15 s and can be killed; few of these run at once, and the
rest wait in a line with an end. What comes out is pixels only: no metadata passes.
"""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from studio.core import decode_image
from studio.core.errors import BadImage
from studio.core.image_process import run_image_program, take_turn
from studio.core.settings import Settings

IN_PROCESS_PIXELS = 16_000_000
MAX_PNG_CHUNKS = 20_000
MAX_PNG_TEXT_BYTES = 8 * 1024 * 1024  # bytes in text chunks; Pillow bounds what they unpack to
MAX_JPEG_SCANS = 500
MAX_SCAN_PIXELS = 64_000_000  # scans times pixels that are still decoded here
_SUPPORTED_FORMATS = "PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF"
_PNG = b"\x89PNG\r\n\x1a\n"
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_OTHER_FORMATS = (
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG drawing"),
)


@dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """Limits of an image: bytes of the file, px of a side, pixels in all, seconds to decode."""

    max_bytes: int = 64 * 1024 * 1024
    max_side: int = 16_384
    max_pixels: int = 64_000_000
    seconds: float = 20.0

    @classmethod
    def of(cls, settings: Settings) -> ImageLimits:
        """The limits that the settings give."""
        return cls(max_bytes=settings.max_upload_mb * 1024 * 1024, max_pixels=settings.max_megapixels * 1_000_000)


def open_image(
    source: bytes | Path | BinaryIO, *, limits: ImageLimits | None = None, patient: bool = False
) -> Image.Image:
    """The image in `source`: 8-bit, mode L, RGB or RGBA, sRGB, upright by its EXIF, first frame, no metadata. `patient`
    waits for its turn however many wait before.

    Raises:
        QueueFull: so many images are being opened that this one had no turn.
        BadImage: not an image, broken, truncated, of a format that is not let in, or past a limit; the message says
            which.
    """
    limits = limits or ImageLimits()
    data = _read_source(source, limits.max_bytes)
    kind = detect_format(data)
    if kind is None:
        raise _make_format_error(data)
    _check_structure(data, kind)
    if kind in ("PNG", "JPEG", "WEBP", "GIF"):
        size = _read_header_size(data, kind)
        if size is not None:
            _check_size(size, limits)
            if _is_cheap(data, kind, size):
                return _decode_in_process(data, kind, limits)
    with take_turn(patient=patient):
        return _decode_in_subprocess(data, kind, limits)


def detect_format(data: bytes) -> str | None:
    """Pillow's name of the format by the first bytes, None for those that are not accepted."""
    if data.startswith(_PNG):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if _list_brands(data) & {b"avif", b"avis"}:
        return "AVIF"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:2] == b"BM":
        return "BMP"
    return "TIFF" if data[:4] in (b"II*\0", b"MM\0*") else None


def _list_brands(data: bytes) -> set[bytes]:
    """The kinds that a file of the HEIF family says it is; a general one (mif1) says nothing of what is inside."""
    if data[4:8] != b"ftyp":
        return set()
    box = data[: min(int.from_bytes(data[:4], "big"), 256)]
    return {data[8:12], *(box[place : place + 4] for place in range(16, len(box) - 3, 4))}


def _make_format_error(data: bytes) -> BadImage:
    """The error for a format that is not accepted, with its name where it is a known one."""
    brands = _list_brands(data)
    if brands & _HEIC_BRANDS:
        return BadImage(
            "This is a HEIC image, which cannot be opened.",
            hint="Save it as JPEG or PNG first. Phones can be set to take JPEGs (“Most compatible”).",
        )
    name = next((name for mark, name in _OTHER_FORMATS if data.startswith(mark)), "")
    what = f"This is {name}, which cannot be opened." if name else "This image cannot be opened."
    return BadImage(what, hint=f"Use {_SUPPORTED_FORMATS}.")


def _read_source(source: bytes | Path | BinaryIO, most: int) -> bytes:
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, Path):
        data = _read_file(source, most)
    else:
        data = source.read(most + 1)
    if len(data) > most:
        raise BadImage(
            f"The file is larger than {most // 1024 // 1024} MiB.",
            hint="Use a smaller file, or raise max_upload_mb in the settings.",
        )
    if not data:
        raise BadImage("The file is empty.", hint=f"Use {_SUPPORTED_FORMATS}.")
    return data


def _read_file(path: Path, most: int) -> bytes:
    """A plain file's bytes; a pipe or a device could keep us waiting for ever, so it is not opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadImage("This is not a file.", hint="Choose an image file.")
            return file.read(most + 1)
    except (OSError, ValueError) as error:
        raise BadImage("The image file cannot be read.", hint="Check that it is still there.") from error


def _check_structure(data: bytes, kind: str) -> None:
    """Refuse files built to be slow: thousands of PNG chunks, megabytes of text, hundreds of JPEG scans."""
    if kind == "PNG":
        chunks, text = _count_png_chunks(data)
        if chunks > MAX_PNG_CHUNKS or text > MAX_PNG_TEXT_BYTES:
            raise BadImage("This PNG has too many chunks.", hint="Save it again with an image editor.")
    if kind == "JPEG" and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise BadImage("This JPEG has too many scans.", hint="Save it again with an image editor.")


def _count_png_chunks(data: bytes) -> tuple[int, int]:
    """(number of chunks, bytes of text in them), counted no further than the limit."""
    place, chunks, text = len(_PNG), 0, 0
    while place + 8 <= len(data) and chunks <= MAX_PNG_CHUNKS:
        length = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] in (b"tEXt", b"zTXt", b"iTXt"):
            text += length
        chunks += 1
        place += length + 12
    return chunks, text


def _read_header_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """(width, height) as the header says, None where Pillow does not open it: then the child finds out why."""
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            return image.size
    except (*decode_image.DECODE_ERRORS, struct.error):
        return None


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if max(size) > limits.max_side or width * height > limits.max_pixels:
        raise _make_size_error(f"{width}×{height}", limits)


def _make_size_error(size: str, limits: ImageLimits) -> BadImage:
    return BadImage(
        f"The image is too large ({size[:80]}).",
        hint=f"The limit is {limits.max_side} px per side and {limits.max_pixels / 1e6:g} megapixels.",
        details={"max_side": limits.max_side, "max_pixels": limits.max_pixels},
    )


def _is_cheap(data: bytes, kind: str, size: tuple[int, int]) -> bool:
    pixels = size[0] * size[1]
    return pixels <= IN_PROCESS_PIXELS and (kind != "JPEG" or pixels * data.count(b"\xff\xda") <= MAX_SCAN_PIXELS)


def _decode_in_process(data: bytes, kind: str, limits: ImageLimits) -> Image.Image:
    try:
        return decode_image.decode_image(data, (kind,), limits.max_side, limits.max_pixels)
    except decode_image.ImageTooLarge as error:
        raise _make_size_error(str(error), limits) from error
    except (*decode_image.DECODE_ERRORS, struct.error, MemoryError) as error:
        raise _make_broken_error(kind) from error


def _decode_in_subprocess(data: bytes, kind: str, limits: ImageLimits) -> Image.Image:
    """Decode in a process with bounded time and memory."""
    order = {
        "formats": [kind],
        "max_side": limits.max_side,
        "max_pixels": limits.max_pixels,
        "seconds": int(limits.seconds) + 1,
        "memory": 768 * 1024 * 1024 + len(data) * 2 + limits.max_pixels * 20,
    }
    try:
        done = run_image_program(Path(decode_image.__file__), order, data, limits.seconds)
    except subprocess.TimeoutExpired as error:
        raise BadImage(
            "The image took too long to open.", hint="Save it again with an image editor, or make it smaller."
        ) from error
    except OSError as error:
        raise BadImage("The image could not be opened just now.", hint="Try again in a moment.") from error
    if done.returncode == 3:
        raise _make_size_error(done.stdout.decode(errors="replace"), limits)
    if done.returncode != 0:
        raise _make_broken_error(kind)
    header, _, pixels = done.stdout.partition(b"\n")
    mode, width, height = json.loads(header)
    return Image.frombytes(mode, (width, height), pixels)


def _make_broken_error(kind: str) -> BadImage:
    return BadImage(
        f"This {kind} file is damaged or incomplete.", hint="Send it again, or save it again with an image editor."
    )

"""The image gate against real images of every kind and against files made to break it."""

from __future__ import annotations

import io
import os
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from studio.core.errors import BadImage
from studio.core.image_gate import ImageLimits, detect_format, open_image
from studio.core.settings import Settings

MOST_CPU = 2.0  # seconds that any file of the corpus may cost, child included


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    image = Image.linear_gradient("L").resize(size)
    if mode == "RGBA":
        image = image.convert("RGB")
        image.putalpha(Image.linear_gradient("L").resize(size).rotate(180))
        return image
    return image.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, *, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


PNG = saved(gradient(), "PNG")
JPEG = saved(gradient(), "JPEG")
WEBP = saved(gradient(), "WEBP")
AVIF = saved(gradient(), "AVIF")
GIF = saved(gradient().quantize(16), "GIF")
BMP = saved(gradient(), "BMP")
TIFF = saved(gradient(), "TIFF")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def oriented(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(gradient(), kind, exif=exif)


def with_text(text: str, zipped: bool = False) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text, zip=zipped)
    return saved(gradient(), "PNG", pnginfo=info)


def sixteen_bit() -> Image.Image:
    values = struct.pack("<256H", *(n * 257 for n in range(256)))
    return Image.frombytes("I;16", (16, 16), values)


WANTED: dict[str, tuple[bytes, str]] = {
    "png": (PNG, "RGB"),
    "png alpha": (saved(gradient("RGBA"), "PNG"), "RGBA"),
    "png grey": (saved(gradient("L"), "PNG"), "L"),
    "png grey alpha": (saved(gradient("L").convert("LA"), "PNG"), "RGBA"),
    "png palette": (saved(gradient().quantize(8), "PNG"), "RGB"),
    "png palette with a clear colour": (saved(gradient().quantize(8), "PNG", transparency=0), "RGBA"),
    "png one bit": (saved(gradient("1"), "PNG"), "L"),
    "png 16 bit": (saved(sixteen_bit(), "PNG"), "L"),
    "png rgb 16 bit": (png(2, 1, zlib.compress(b"\0" + struct.pack(">6H", *[65535] * 6)), depth=16), "RGB"),
    "png with a prompt": (with_text("a red apple\nSteps: 20"), "RGB"),
    "png animated": (saved(gradient(), "PNG", save_all=True, append_images=[gradient()]), "RGB"),
    "png icc": (saved(gradient(), "PNG", icc_profile=SRGB), "RGB"),
    "png broken icc": (saved(gradient(), "PNG", icc_profile=b"not a profile" * 40), "RGB"),
    "png one pixel": (saved(Image.new("RGB", (1, 1)), "PNG"), "RGB"),
    "png thin": (saved(Image.new("RGB", (10_000, 1)), "PNG"), "RGB"),
    "png trailing bytes": (PNG + b"<script>alert(1)</script>", "RGB"),
    "jpeg": (JPEG, "RGB"),
    "jpeg grey": (saved(gradient("L"), "JPEG"), "L"),
    "jpeg cmyk": (saved(gradient("CMYK"), "JPEG"), "RGB"),
    "jpeg progressive": (saved(gradient(), "JPEG", progressive=True), "RGB"),
    "jpeg turned": (oriented("JPEG"), "RGB"),
    "jpeg broken exif": (saved(gradient(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), "RGB"),
    "webp": (WEBP, "RGB"),
    "webp lossless alpha": (saved(gradient("RGBA"), "WEBP", lossless=True), "RGBA"),
    "webp animated": (saved(gradient(), "WEBP", save_all=True, append_images=[gradient("RGBA").convert("RGB")]), "RGB"),
    "avif": (AVIF, "RGB"),
    "avif alpha": (saved(gradient("RGBA"), "AVIF"), "RGBA"),
    "gif": (GIF, "RGB"),
    "gif animated": (
        saved(gradient().quantize(8), "GIF", save_all=True, append_images=[gradient("L").quantize(8)]),
        "RGB",
    ),
    "bmp": (BMP, "RGB"),
    "tiff": (TIFF, "RGB"),
    "tiff deflate": (saved(gradient(), "TIFF", compression="tiff_deflate"), "RGB"),
    "tiff float": (saved(gradient("F"), "TIFF"), "L"),
    "tiff cmyk": (saved(gradient("CMYK"), "TIFF"), "RGB"),
}


def many(piece: bytes, times: int) -> Callable[[], bytes]:
    return lambda: png(1, 1, zlib.compress(b"\0\0\0\0"), extra=piece * times)


def flipped(data: bytes, step: int) -> bytes:
    broken = bytearray(data)
    for place in range(20, len(broken), step):
        broken[place] ^= 0x5A
    return bytes(broken)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"\x89",
    "text": lambda: b"an image, honestly",
    "html": lambda: b"<html><script>alert(1)</script></html>",
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "pdf": lambda: b"%PDF-1.7\n",
    "zip": lambda: b"PK\x03\x04" + bytes(100),
    "pickle": lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "psd": lambda: b"8BPS\0\1" + bytes(200),
    "ico": lambda: b"\0\0\1\0\1\0" + bytes(200),
    "ppm": lambda: b"P6 100000 100000 255\n",
    "fits": lambda: b"SIMPLE  =                    T" + bytes(3000),
    "jpeg 2000": lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "png head only": lambda: PNG[:8],
    "png without pixels": lambda: PNG[:33],
    "png cut in half": lambda: PNG[: len(PNG) // 2],
    "png last byte of pixels gone": lambda: PNG[:-30],
    "png of zero width": lambda: png(0, 10, b""),
    "png of 2**31 px": lambda: png(2**31 - 1, 2**31 - 1, b""),
    "png bomb": lambda: png(60_000, 60_000, zlib.compress(bytes(1_000_000))),
    "png bomb within the side": lambda: png(16_000, 16_000, zlib.compress(bytes(1_000_000))),
    "png wrong checksum": lambda: flipped(PNG, 37),
    "png bits everywhere": lambda: flipped(PNG, 3),
    "png odd depth": lambda: png(4, 4, b"", depth=13),
    "png odd colour": lambda: png(4, 4, b"", colour=7),
    "png many chunks": many(chunk(b"tEXt", b"a\0b"), 30_000),
    "png many empty chunks": many(chunk(b"abCd", b""), 50_000),
    "png much text": many(chunk(b"tEXt", b"a\0" + b"x" * 500_000), 20),
    "png text bomb": lambda: with_text("x" * 30_000_000, zipped=True),
    "png profile bomb": many(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50_000_000))), 1),
    "png chunk past the end": lambda: PNG[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt",
    "png palette missing": lambda: png(4, 4, zlib.compress(bytes(20)), colour=3),
    "jpeg head only": lambda: b"\xff\xd8\xff\xe0",
    "jpeg cut": lambda: JPEG[: len(JPEG) // 2],
    "jpeg bits": lambda: flipped(JPEG, 5),
    "jpeg of many scans": lambda: JPEG[:-2] + b"\xff\xda" * 1000,
    "jpeg large in its header": lambda: JPEG.replace(struct.pack(">HH", 32, 48), struct.pack(">HH", 65_000, 65_000), 1),
    "webp head only": lambda: WEBP[:12],
    "webp cut": lambda: WEBP[: len(WEBP) // 2],
    "webp bits": lambda: flipped(WEBP, 7),
    "avif head only": lambda: AVIF[:32],
    "avif cut": lambda: AVIF[: len(AVIF) // 2],
    "avif bits": lambda: flipped(AVIF, 9),
    "gif head only": lambda: GIF[:10],
    "gif huge screen": lambda: GIF[:6] + b"\xff\xff\xff\xff" + GIF[10:],
    "gif without a frame": lambda: GIF[:13] + b";",
    "bmp head only": lambda: BMP[:20],
    "bmp cut": lambda: BMP[:200],
    "bmp huge": lambda: BMP[:18] + struct.pack("<ii", 2**30, 2**30) + BMP[26:],
    "bmp negative": lambda: BMP[:18] + struct.pack("<ii", -5, -(2**31)) + BMP[26:],
    "tiff head only": lambda: TIFF[:8],
    "tiff loop": lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "tiff many tags": lambda: b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 256, 4, 1, 4) * 60_000,
    "tiff cut": lambda: TIFF[:100],
    "random": lambda: os.urandom(5000),
    "random after a png head": lambda: PNG[:8] + os.urandom(5000),
    "random after a jpeg head": lambda: b"\xff\xd8\xff" + os.urandom(5000),
}
MAY_OPEN = {
    "png palette missing",
    "png profile bomb",
    "jpeg bits",
    "jpeg cut",
    "webp bits",
    "avif bits",
    "png bits everywhere",
    "jpeg of many scans",
    "png text bomb",
}
"""Of these a decoder may make an image; what counts is that they cost little and end well."""


def tried(data: bytes) -> tuple[BadImage | None, Image.Image | None]:
    try:
        return None, open_image(data)
    except BadImage as error:
        return error, None


def processor_time() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def test_the_corpus_is_large_enough() -> None:
    assert len(WANTED) + len(HOSTILE) >= 60


@pytest.mark.parametrize("name", WANTED)
def test_images_come_out_plain(name: str) -> None:
    data, mode = WANTED[name]
    image = open_image(data)
    assert image.mode == mode
    assert image.info == {}
    assert not image.getexif()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_cheaply_and_in_words(name: str) -> None:
    data = HOSTILE[name]()
    before = processor_time()
    refused, image = tried(data)
    assert processor_time() - before <= MOST_CPU
    if refused is None:
        assert name in MAY_OPEN
        assert image is not None
        assert image.mode in ("L", "RGB", "RGBA")
    else:
        assert refused.message.endswith(".")
        assert refused.hint
        assert "Traceback" not in refused.message


@pytest.mark.parametrize(
    "data", [PNG, JPEG, WEBP, AVIF, GIF, BMP, TIFF], ids=["png", "jpeg", "webp", "avif", "gif", "bmp", "tiff"]
)
def test_the_pixels_are_the_files(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as plain:
        assert open_image(data).tobytes() == plain.convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_a_turned_image_stands_upright(kind: str) -> None:
    assert gradient().size == (48, 32)
    assert open_image(oriented(kind)).size == (32, 48)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    assert list(open_image(saved(sixteen_bit(), "PNG")).tobytes()) == list(range(256))


def test_a_profile_is_applied() -> None:
    wide = Image.new("RGB", (4, 4), (200, 40, 40))
    swapped = (
        SRGB.replace(b"rXYZ", b"tmp?").replace(b"gXYZ", b"rXYZ").replace(b"tmp?", b"gXYZ")
    )  # red and green change places
    assert swapped != SRGB
    for profile, same in ((SRGB, True), (swapped, False)):
        pixel = open_image(saved(wide, "PNG", icc_profile=profile)).getpixel((0, 0))
        assert (max(abs(a - b) for a, b in zip(pixel, (200, 40, 40), strict=True)) <= 1) is same


def test_a_profile_reaches_the_colours_of_a_palette_and_a_clear_colour_stays_clear() -> None:
    swapped = bytearray(SRGB)
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    image = Image.new("RGB", (8, 8), (200, 30, 30))
    palette = open_image(saved(image.quantize(4), "PNG", icc_profile=bytes(swapped)))
    assert palette.getpixel((0, 0)) == (30, 200, 30)
    clear = open_image(saved(image, "PNG", icc_profile=bytes(swapped), transparency=(200, 30, 30)))
    assert clear.getpixel((0, 0)) == (30, 200, 30, 0)


def test_a_path_a_stream_and_bytes_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with (tmp_path / "a.png").open("rb") as file:
        found = {open_image(source).tobytes() for source in (PNG, tmp_path / "a.png", file)}
    assert len(found) == 1


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", Path("/dev/zero"), tmp_path / "nul\0"):
        with pytest.raises(BadImage):
            open_image(path)


@pytest.mark.parametrize(
    ("limits", "data"),
    [
        (ImageLimits(max_bytes=100), PNG),
        (ImageLimits(max_side=40), PNG),
        (ImageLimits(max_pixels=1000), PNG),
        (ImageLimits(max_side=40), TIFF),
        (ImageLimits(max_pixels=1000), AVIF),
        (ImageLimits(max_pixels=400), BMP),
    ],
)
def test_each_limit_holds_here_and_in_the_child(limits: ImageLimits, data: bytes) -> None:
    with pytest.raises(BadImage, match="large"):
        open_image(data, limits=limits)


def test_a_decoder_that_takes_too_long_is_killed() -> None:
    with pytest.raises(BadImage, match="too long"):
        open_image(AVIF, limits=ImageLimits(seconds=0.001))


def test_a_large_photograph_passes_through_the_child() -> None:
    data = saved(Image.new("RGB", (5000, 4000), (10, 20, 30)), "JPEG")
    image = open_image(data)
    assert (image.size, image.mode) == ((5000, 4000), "RGB")


def test_the_settings_give_the_limits() -> None:
    limits = ImageLimits.of(Settings(max_upload_mb=2, max_megapixels=3))
    assert (limits.max_bytes, limits.max_pixels) == (2 * 1024 * 1024, 3_000_000)


def test_only_listed_formats_have_a_name() -> None:
    assert detect_format(PNG) == "PNG"
    assert detect_format(b"GIF90a") is None


@pytest.mark.parametrize(
    ("kind", "planar", "mode"),
    [
        ("f8", "separate", "RGB"),
        ("f4", "contig", "RGB"),
        ("u4", "contig", "RGB"),
        ("u2", "separate", "RGB"),
        ("f8", "contig", "RGBA"),
    ],
)
def test_a_tiff_of_several_pages_and_unusual_pixels_is_read(kind: str, planar: str, mode: str) -> None:
    plain = np.asarray(gradient(mode), dtype=np.float64) / 255
    scale = 1 if kind.startswith("f") else np.iinfo(kind).max
    page = (plain * scale).astype(kind)
    page = np.moveaxis(page, -1, 0) if planar == "separate" else page
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        for values in (page, page * 0):
            extra = {"extrasamples": ["unassalpha"]} if mode == "RGBA" else {}
            file.write(values, photometric="rgb", planarconfig=planar, metadata=None, **extra)
    image = open_image(out.getvalue())
    assert (image.mode, image.size) == (mode, (48, 32))
    assert np.abs(np.asarray(image, dtype=int) - np.asarray(gradient(mode), dtype=int)).max() <= 1


def test_an_unusual_tiff_keeps_to_the_limits() -> None:
    out = io.BytesIO()
    tifffile.imwrite(out, np.zeros((64, 64, 3), "f8"), photometric="rgb")
    with pytest.raises(BadImage, match="too large"):
        open_image(out.getvalue(), limits=ImageLimits(max_side=32))
    with pytest.raises(BadImage, match="damaged"):
        open_image(out.getvalue()[:-3000])


def heif(brand: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(body) + 4) + body + bytes(200)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        *((heif(brand, b"mif1"), "HEIC") for brand in (b"heic", b"heix", b"hevc", b"heim")),
        (heif(b"mif1", b"mif1", b"heic"), "HEIC"),
        (heif(b"msf1", b"hevc"), "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
        (b"8BPS" + bytes(50), "Photoshop"),
        (b"%PDF-1.7" + bytes(50), "PDF"),
    ],
)
def test_a_known_format_that_is_not_let_in_is_named(data: bytes, name: str) -> None:
    with pytest.raises(BadImage, match=f"{name}.*cannot be opened"):
        open_image(data)


def test_an_avif_of_a_general_brand_is_opened() -> None:
    at = AVIF.index(b"ftyp") + 4
    assert AVIF[at : at + 4] == b"avif"
    assert detect_format(AVIF[:at] + b"mif1" + AVIF[at + 4 :]) == "AVIF"


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_opened(progressive: bool) -> None:
    import skimage.data

    photo = Image.fromarray(skimage.data.astronaut()).resize((200, 160))
    whole = saved(photo, "JPEG", quality=90, progressive=progressive)
    assert open_image(whole[:-2]).tobytes() == open_image(whole).tobytes()
    for cut in (20, len(whole) // 4, len(whole) // 2):
        with pytest.raises(BadImage, match="damaged or incomplete"):
            open_image(whole[:-cut])

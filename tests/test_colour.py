"""Colours come in as sRGB however a file tells what they are; held against littlecms."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from studio.core.image_gate import open_image

COLOUR = (200, 100, 100)
D50 = (0.9642, 1.0, 0.8249)
BROKEN = [b"", b"x" * 200, b"\0" * 128]


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", 128 + len(table + body), b"", 0x02400000, b"mntr", space, b"XYZ ", b"", b"acsp"
    )
    return (head + bytes(28) + fixed(*D50)).ljust(128, b"\0") + table + body


def grey_profile(*curve: int) -> bytes:
    """A grey space: one entry is the exponent times 256, none linear, several a table of 16 bits."""
    content = struct.pack(f">4sII{len(curve)}H", b"curv", 0, len(curve), *curve)
    return icc(b"GRAY", {b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50), b"kTRC": content})


def dot_gain(percent: float) -> bytes:
    """Ink that spreads: a dot of one half covers that much more, as Adobe's grey spaces have it."""
    ink = 1 - np.linspace(0, 1, 256)
    gained = np.clip(ink + 4 * percent / 100 * ink * (1 - ink), 0, 1)
    return grey_profile(*(int(value) for value in np.round(65535 * (1 - gained) / 1.0)))


LINEAR, GAMMA_18 = grey_profile(), grey_profile(461)
PROFILES = {"dot gain": dot_gain(12), "gamma 1.8": GAMMA_18, "linear": LINEAR, "gamma 2.2": grey_profile(563)}


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def ramp(mode: str = "L") -> Image.Image:
    values = Image.linear_gradient("L").resize((64, 64))
    if mode == "LA":
        return Image.merge("LA", (values, Image.new("L", values.size, 77)))
    return values


def held(image: Image.Image, profile: bytes) -> np.ndarray[Any, Any]:
    """What littlecms makes of `image` in `profile`, as RGB."""
    moved = ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert moved is not None
    return np.asarray(moved, int)


def near(image: Image.Image, wanted: Any, levels: int = 3) -> bool:
    return bool(np.abs(np.asarray(image.convert("RGB"), int) - wanted).max() <= levels)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_a_grey_profile_is_heeded(name: str, kind: str) -> None:
    options = {"quality": 100} if kind == "JPEG" else {}
    opened = open_image(saved(ramp(), kind, icc_profile=PROFILES[name], **options))
    assert opened.mode == "L"
    assert near(opened, held(ramp(), PROFILES[name]))


@pytest.mark.parametrize("name", PROFILES)
def test_a_grey_profile_is_heeded_beside_opacity(name: str) -> None:
    opened = open_image(saved(ramp("LA"), "PNG", icc_profile=PROFILES[name]))
    assert opened.mode == "RGBA"
    assert near(opened, held(ramp(), PROFILES[name]))
    assert opened.getchannel("A").getextrema() == (77, 77)


def test_a_grey_profile_is_heeded_in_sixteen_bits() -> None:
    deep = Image.fromarray(np.asarray(ramp()).astype(np.uint16) * 257)
    opened = open_image(saved(deep, "PNG", icc_profile=LINEAR))
    assert near(opened, held(ramp(), LINEAR))


@pytest.mark.parametrize(("profile", "wanted"), [(GAMMA_18, 146), (LINEAR, 188)])
def test_middle_grey_becomes_what_other_programs_show(profile: bytes, wanted: int) -> None:
    opened = open_image(saved(Image.new("L", (4, 4), 128), "PNG", icc_profile=profile))
    assert abs(opened.getpixel((0, 0)) - wanted) <= 1  # type: ignore[operator]


@pytest.mark.parametrize("profile", [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), *BROKEN])
def test_a_profile_that_does_not_fit_grey_is_passed_over(profile: bytes) -> None:
    assert open_image(saved(ramp(), "PNG", icc_profile=profile)).tobytes() == ramp().tobytes()


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    made = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + made + data[33:]


def patched_avif(primaries: int, transfer: int, image: Image.Image) -> bytes:
    data = bytearray(saved(image, "AVIF", quality=100, subsampling="4:4:4"))
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def flat(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (16, 16), COLOUR) if mode == "RGB" else Image.new("RGBA", (16, 16), (*COLOUR, 90))


PNG, CLEAR_PNG = saved(flat(), "PNG"), saved(flat("RGBA"), "PNG")
P3, P3_COLOUR = bytes((12, 13, 0, 1)), (215, 93, 97)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (with_chunk(PNG, b"cICP", P3), P3_COLOUR),
        (with_chunk(CLEAR_PNG, b"cICP", P3), P3_COLOUR),
        (saved(flat(), "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), COLOUR),
        (with_chunk(PNG, b"gAMA", struct.pack(">I", 100_000)), (229, 168, 168)),
        (with_chunk(PNG, b"gAMA", struct.pack(">I", 45_455)), COLOUR),
        (with_chunk(PNG, b"gAMA", struct.pack(">I", 0)), COLOUR),
        (with_chunk(PNG, b"cICP", bytes((1, 13, 0, 1))), COLOUR),
        (with_chunk(PNG, b"cICP", bytes((2, 2, 0, 1))), COLOUR),
        (with_chunk(PNG, b"cICP", b"\x0c"), COLOUR),
        (with_chunk(with_chunk(PNG, b"gAMA", struct.pack(">I", 100_000)), b"sRGB", b"\0"), COLOUR),
        (with_chunk(with_chunk(PNG, b"gAMA", struct.pack(">I", 100_000)), b"cICP", P3), P3_COLOUR),
        (patched_avif(12, 13, flat()), P3_COLOUR),
        (patched_avif(12, 13, flat("RGBA")), P3_COLOUR),
        (patched_avif(1, 13, flat()), COLOUR),
        (patched_avif(2, 2, flat()), COLOUR),
        (patched_avif(1, 1, flat()), COLOUR),
    ],
)
def test_colours_that_are_told_without_a_profile(data: bytes, wanted: tuple[int, int, int]) -> None:
    opened = open_image(data)
    assert near(opened, np.asarray(wanted)), opened.getpixel((0, 0))
    if opened.mode == "RGBA":
        assert opened.getpixel((0, 0))[3] in range(88, 93)  # type: ignore[index]


def test_a_primaries_chunk_is_heeded_with_its_gamma() -> None:
    p3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    data = with_chunk(PNG, b"gAMA", struct.pack(">I", 45_455))
    data = with_chunk(data, b"cHRM", struct.pack(">8I", *p3))
    assert near(open_image(data), np.asarray(P3_COLOUR))
    nothing = with_chunk(with_chunk(PNG, b"gAMA", struct.pack(">I", 45_455)), b"cHRM", bytes(32))
    assert near(open_image(nothing), np.asarray(COLOUR))


def test_grey_with_a_gamma_is_moved_too() -> None:
    grey = saved(Image.new("L", (4, 4), 128), "PNG")
    opened = open_image(with_chunk(grey, b"gAMA", struct.pack(">I", 100_000)))
    assert (opened.mode, abs(opened.getpixel((0, 0)) - 188) <= 1) == ("L", True)  # type: ignore[operator]


@pytest.mark.parametrize("how", ["R03", "colour space"])
def test_a_camera_that_tells_of_adobe_rgb_in_exif_alone(how: str) -> None:
    exif = Image.Exif()
    if how == "R03":
        exif.get_ifd(0x8769)[0xA001] = 65535
        exif.get_ifd(0x8769)[0xA005] = {1: "R03", 2: b"0100"}
    else:
        exif.get_ifd(0x8769)[0xA001] = 2
    opened = open_image(saved(flat(), "JPEG", quality=100, subsampling=0, exif=exif))
    assert near(opened, np.asarray((227, 100, 100)), 4), opened.getpixel((0, 0))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 1
    assert near(open_image(saved(flat(), "JPEG", quality=100, subsampling=0, exif=exif)), np.asarray(COLOUR))

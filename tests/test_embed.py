"""What is written into an image is read back, by us and by programs that know nothing of us."""

from __future__ import annotations

import io
import json
import struct
import zlib

import pytest
from fakes import draw_fake_image
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from studio.core.errors import BadImage
from studio.engine.metadata.embed import AI_SOURCE_TYPE, FILE_EXTENSIONS, EmbeddedMetadata, encode_image, read_metadata

TEXT = "a red apple, ünïcødé 苹果 “quoted”\nNegative prompt: <b>&amp;\nSteps: 20, Seed: 7"
RECIPE = {"request": {"prompt": "a ]]> <apple> & \x0b 苹果"}, "seed": 7}
KINDS = sorted(FILE_EXTENSIONS)


def made(kind, infotext=TEXT, recipe=RECIPE, quality=92):
    return encode_image(
        draw_fake_image(7, 64, 48),
        kind,
        quality=quality,
        carried=EmbeddedMetadata(infotext=infotext, recipe=recipe, tool="Easel 1"),
    )


def clear(kind):
    image = draw_fake_image(7, 64, 48)
    image.putalpha(100)
    return opened(encode_image(image, kind, quality=92, carried=EmbeddedMetadata(tool="Easel 1")))


def opened(data):
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_back(kind, tmp_path):
    path = tmp_path / f"image{FILE_EXTENSIONS[kind]}"
    path.write_bytes(made(kind))
    for source in (path, opened(path.read_bytes())):
        found = read_metadata(source)
        assert (found.infotext, found.recipe, found.source_type) == (TEXT, RECIPE, AI_SOURCE_TYPE)


@pytest.mark.parametrize("kind", KINDS)
def test_without_recipe_the_marker_stays(kind):
    found = read_metadata(opened(made(kind, infotext="", recipe=None)))
    assert (found.infotext, found.recipe, found.source_type) == ("", None, AI_SOURCE_TYPE)


@pytest.mark.parametrize(("kind", "quality"), [("png", 92), ("webp", 100)])
def test_lossless_kinds_keep_the_pixels(kind, quality):
    assert opened(made(kind, quality=quality)).convert("RGB").tobytes() == draw_fake_image(7, 64, 48).tobytes()


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_transparency_survives(kind):
    assert clear(kind).getpixel((0, 0))[3] in range(95, 106)


def test_jpeg_drops_transparency():
    assert clear("jpeg").mode == "RGB"


def test_a_plain_png_reader_finds_parameters():
    """A chunk reader written from the PNG specification, as other programs have one."""
    data, chunks, at = made("png", infotext="a pear\nSteps: 4"), {}, 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        chunks.setdefault(kind, []).append(data[at + 8 : at + 8 + size])
        at += size + 12
    texts = dict(chunk.split(b"\0", 1) for chunk in chunks[b"tEXt"])
    assert texts[b"parameters"].decode("latin-1") == "a pear\nSteps: 4"
    own = next(chunk for chunk in chunks[b"iTXt"] if chunk.startswith(b"easel\0"))
    assert json.loads(zlib.decompress(own.split(b"\0", 1)[1][2:].split(b"\0", 2)[2])) == RECIPE


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_a_plain_exif_reader_finds_the_comment(kind):
    """UserComment as piexif reads it: eight bytes of encoding, then UTF-16 with the high byte first."""
    comment = opened(made(kind)).getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be") == TEXT


def read_exif_entries(block: bytes) -> dict[int, tuple[int, bytes]]:
    """(type, content) by tag of both folders of an EXIF block, read as the specification has it."""
    tiff = block.removeprefix(b"Exif\0\0")
    order = {b"MM": ">", b"II": "<"}[tiff[:2]]
    found, folders = {}, list(struct.unpack(f"{order}I", tiff[4:8]))
    while folders:
        at = folders.pop()
        for number in range(struct.unpack(f"{order}H", tiff[at : at + 2])[0]):
            entry = tiff[at + 2 + 12 * number :][:12]
            tag, kind, count = struct.unpack(f"{order}HHI", entry[:8])
            size = count * {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}[kind]
            place = struct.unpack(f"{order}I", entry[8:])[0]
            content = entry[8 : 8 + size] if size <= 4 else tiff[place : place + size]
            found[tag] = (kind, content)
            folders += [place] if tag == 0x8769 else []
    return found


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
@pytest.mark.parametrize("text", [TEXT, "x", "apple " * 8000])
def test_the_comment_is_of_the_type_that_other_readers_look_for(kind, text):
    entries = read_exif_entries(opened(made(kind, infotext=text)).info["exif"])
    assert entries[0x0131] == (2, b"Easel 1\0")
    number, content = entries[0x9286]
    assert number == 7
    mark = content[:8]
    assert content[8:].decode({b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}[mark]) == text


@pytest.mark.parametrize("tool", ["Easel 1", "E", ""])
def test_without_an_infotext_the_tool_alone_is_named(tool):
    carried = EmbeddedMetadata(tool=tool)
    data = encode_image(draw_fake_image(7, 64, 48), "jpeg", quality=90, carried=carried)
    assert read_exif_entries(opened(data).info["exif"]) == {0x0131: (2, f"{tool}\0".encode())}


def test_a_comment_in_the_other_byte_order_is_read():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + b"a pear\nSteps: 4".decode().encode("utf-16-le")
    out = io.BytesIO()
    draw_fake_image(1, 8, 8).save(out, "JPEG", exif=exif)
    assert read_metadata(opened(out.getvalue())).infotext == "a pear\nSteps: 4"


def test_jpeg_takes_what_its_segments_hold():
    long_text = "apple " * 8000
    found = read_metadata(opened(made("jpeg", infotext=long_text, recipe={"prompt": long_text})))
    assert found.infotext == long_text
    assert found.recipe == {"prompt": long_text}
    huge = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))
    found = read_metadata(opened(made("jpeg", infotext=huge * 2, recipe={"a": huge, "b": huge[::-1], "c": huge[::3]})))
    assert (found.infotext, found.source_type) == ("", AI_SOURCE_TYPE)


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a" + b"\0" * 50, b"\x89PNG\r\n\x1a\n", b"<html>", made("png")[:40], b"RIFF\0\0\0\0WEBPVP8 "]
)
def test_no_image_is_refused(data, tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(BadImage):
        read_metadata(path)


@pytest.mark.parametrize(
    "packet",
    [
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><x>&b;</x>",
        b"<x:xmpmeta",
        b"\xff\xfe",
        b"a" * 3_000_000,
    ],
)
def test_a_hostile_packet_is_passed_over(packet):
    image = draw_fake_image(1, 8, 8)
    image.info["xmp"] = packet
    assert read_metadata(image).recipe is None


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "nonsense", "zlib:!!", "zlib:AAAA", '{"a":' * 5000])
def test_a_hostile_recipe_is_passed_over(text):
    image = draw_fake_image(1, 8, 8)
    image.info["easel"] = text
    assert read_metadata(image).recipe is None


def test_a_packed_recipe_does_not_unpack_without_end():
    import base64

    image = draw_fake_image(1, 8, 8)
    image.info["easel"] = "zlib:" + base64.b64encode(zlib.compress(b'"' + b"a" * 50_000_000 + b'"')).decode()
    assert read_metadata(image).recipe is None


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300).filter(lambda text: "\0" not in text), kind=st.sampled_from(["png", "jpeg", "webp"]))
def test_any_text_comes_back(text, kind):
    text = text.encode("utf-8", "ignore").decode()
    found = read_metadata(opened(made(kind, infotext=text, recipe={"prompt": text})))
    assert found.recipe == {"prompt": text}
    assert found.infotext == text


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + b"\xfe\xff" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + b"\xff\xfe" + TEXT.encode("utf-16-le"),
        b"ASCII\0\0\0" + b"\xef\xbb\xbf" + TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
    ],
)
def test_a_byte_order_mark_is_heeded_and_not_read(comment):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    out = io.BytesIO()
    draw_fake_image(1, 8, 8).save(out, "JPEG", exif=exif)
    assert read_metadata(opened(out.getvalue())).infotext == TEXT

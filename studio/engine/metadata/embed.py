"""The recipe inside the image, and back out of it, for PNG, JPEG, WebP and AVIF.

What is written: AUTOMATIC1111's infotext (PNG: the text chunk "parameters"; else EXIF UserComment as UTF-16BE behind
the "UNICODE" mark, as piexif does), our full recipe as JSON (PNG: the text chunk "easel"; else an XMP property), and an
XMP packet with the IPTC digital source type of every image that has one (see studio.core.source_type).
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from PIL import Image, PngImagePlugin

from studio.core.errors import BadImage
from studio.core.source_type import GENERATED, clean_source_type

FILE_EXTENSIONS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif"}
MAX_TEXT = 1_000_000  # characters of any one field that are read
AI_SOURCE_TYPE = GENERATED
_RECIPE_KEY = "easel"
_EASEL = "https://easel.invalid/ns/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
XMP_COMMENT = "xmp:UserComment"  # what its text is called among those of an image
_EXIF = "http://ns.adobe.com/exif/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_USER_COMMENT, _EXIF_IFD, _SOFTWARE = 0x9286, 0x8769, 0x0131
_ASCII, _LONG, _UNDEFINED = 2, 4, 7  # types of EXIF values
_EXIF_HEAD_BYTES = 8
_JPEG_SEGMENT = 65_000  # bytes: a JPEG segment holds 65,533 with its own header
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF")


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata of an image. `recipe` is ours, as JSON; `source_type` the IPTC digital source type."""

    infotext: str = ""
    recipe: dict[str, Any] | None = None
    source_type: str = ""


@dataclass(frozen=True, kw_only=True)
class EmbeddedMetadata:
    """The metadata of a file: infotext, recipe, the name and version of the `tool`, and the IPTC
    `source_type` ("" for none). Without `marked` the file is bare."""

    infotext: str = ""
    recipe: Mapping[str, Any] | None = None
    tool: str = ""
    source_type: str = GENERATED
    marked: bool = True


def encode_image(
    image: Image.Image,
    kind: str,
    *,
    quality: int,
    full_colour: bool | None = None,
    small: bool = False,
    carried: EmbeddedMetadata = EmbeddedMetadata(),
) -> bytes:
    """`image` as a file of `kind` (a key of ENDINGS) with everything inside; `quality` is for the lossy ones, 100 makes
    WebP lossless. `full_colour` keeps JPEG's colour at full resolution (4:4:4), which None does from quality 90;
    `small` packs a PNG as hard as it goes, which takes ten times as long. JPEG has no transparency: it is laid on
    white. It cannot hold more than 64 kB of either text either; what is longer than that even when packed is left out.
    """
    out = io.BytesIO()
    if kind == "png":
        chunks = _build_png_chunks(carried) if carried.marked else None
        image.save(out, "PNG", compress_level=9 if small else 1, optimize=small, pnginfo=chunks)
        return out.getvalue()
    limit = _JPEG_SEGMENT if kind == "jpeg" else MAX_TEXT
    exif, xmp = b"", b""
    if carried.marked:
        exif, xmp = _build_exif(carried.infotext, carried.tool, limit), _build_xmp_packet(carried, limit)
    if kind == "jpeg":
        whole = quality >= 90 if full_colour is None else full_colour
        options = {"quality": quality, "subsampling": 0 if whole else 2, "exif": exif, "xmp": xmp}
        flat = _flatten_on_white(image)
        try:
            flat.save(out, "JPEG", optimize=True, progressive=True, **options)
        except OSError:  # Pillow's buffer for that is a byte per pixel, which noise outgrows
            out = io.BytesIO()
            flat.save(out, "JPEG", **options)
    elif kind == "webp":
        image.save(
            out,
            "WEBP",
            quality=quality if quality < 100 else 0,
            lossless=quality == 100,
            method=0 if quality == 100 else 4,
            exif=exif,
            xmp=xmp,
        )
    else:
        image.save(out, "AVIF", quality=quality, speed=8, exif=exif, xmp=xmp)
    return out.getvalue()


def _flatten_on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def read_metadata(source: Path | Image.Image) -> Metadata:
    """Read the metadata of `source`; fields that it lacks are empty. Only the head of the file is read, no pixels.

    Raises:
        BadImage: `source` is a file that is not one of the four kinds of image.
    """
    if isinstance(source, Image.Image):
        return _read_image(source)
    try:
        with Image.open(source, formats=FORMATS) as image:
            return _read_image(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImage("This image file cannot be read.", hint="Use PNG, JPEG, WebP or AVIF.") from error


def _build_png_chunks(carried: EmbeddedMetadata) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    if carried.infotext:
        chunks.add_text("parameters", carried.infotext)
    if carried.recipe is not None:
        chunks.add_itxt(_RECIPE_KEY, json.dumps(carried.recipe, ensure_ascii=False), zip=True)
    chunks.add_text("Software", carried.tool)
    chunks.add_itxt("XML:com.adobe.xmp", _format_xmp("", carried).decode())
    return chunks


def _build_exif(infotext: str, tool: str, limit: int) -> bytes:
    """An EXIF block with the tool and the infotext as UserComment. Put together here, because Pillow writes bytes as
    type BYTE, and every other reader looks for UNDEFINED, as EXIF has it."""
    comment = b""
    if infotext:
        comment = b"UNICODE\0" + infotext.encode("utf-16-be", errors="replace")
        if len(comment) > limit and infotext.isascii():
            comment = b"ASCII\0\0\0" + infotext.encode()
    software = tool.encode(errors="replace") + b"\0"
    entries = [(_SOFTWARE, _ASCII, software)]
    if comment and len(comment) <= limit:
        inner = _build_exif_folder([(_USER_COMMENT, _UNDEFINED, comment)], _EXIF_HEAD_BYTES + 2 + 2 * 12 + 4)
        entries.append((_EXIF_IFD, _LONG, inner))
    return b"Exif\0\0MM\0*\0\0\0\x08" + _build_exif_folder(entries, _EXIF_HEAD_BYTES)


def _build_exif_folder(entries: Sequence[tuple[int, int, bytes]], start: int) -> bytes:
    """The big-endian folder of `entries` (tag, type, content), `start` bytes after the TIFF header. A folder inside,
    which is built for the place right behind this one, comes as a LONG."""
    behind = start + 2 + 12 * len(entries) + 4
    table, body = b"", b"".join(content for _, kind, content in entries if kind == _LONG)
    for tag, kind, content in entries:
        if kind == _LONG:
            table += struct.pack(">HHII", tag, kind, 1, behind)
        elif len(content) <= 4:
            table += struct.pack(">HHI4s", tag, kind, len(content), content)
        else:
            body += bytes(len(body) % 2)
            table += struct.pack(">HHII", tag, kind, len(content), behind + len(body))
            body += content
    return struct.pack(">H", len(entries)) + table + bytes(4) + body


def _build_xmp_packet(carried: EmbeddedMetadata, limit: int) -> bytes:
    text = "" if carried.recipe is None else json.dumps(carried.recipe)
    packet = _format_xmp(text, carried)
    if len(packet) > limit:
        packet = _format_xmp("zlib:" + base64.b64encode(zlib.compress(text.encode(), 9)).decode(), carried)
    return packet if len(packet) <= limit else _format_xmp("", carried)


def _format_xmp(recipe: str, carried: EmbeddedMetadata) -> bytes:
    own = f"<easel:recipe>{escape(recipe)}</easel:recipe>" if recipe else ""
    marker = f" Iptc4xmpExt:DigitalSourceType={quoteattr(carried.source_type)}" if carried.source_type else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        f'<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{_IPTC}" xmlns:xmp="{_XMP}" xmlns:easel="{_EASEL}"'
        f" xmp:CreatorTool={quoteattr(carried.tool)}{marker}>{own}</rdf:Description>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def _read_image(image: Image.Image) -> Metadata:
    info = cast("dict[str, Any]", image.info)
    source_type, packed = _read_packet(info.get("xmp") or info.get("XML:com.adobe.xmp"))
    infotext = info.get("parameters")
    if not isinstance(infotext, str):
        infotext = _read_comment(image)
    own = info.get(_RECIPE_KEY)
    return Metadata(
        infotext=infotext[:MAX_TEXT],
        recipe=_read_recipe(own if isinstance(own, str) else packed),
        source_type=source_type,
    )


def _read_comment(image: Image.Image) -> str:
    try:
        exif = image.getexif()
        raw: Any = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT) or exif.get(
            _USER_COMMENT, b""
        )  # Fooocus leaves it at the root
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):  # hostile EXIF, as Pillow reports it
        return ""
    if isinstance(raw, str):
        return raw[:MAX_TEXT].strip("\ufeff")
    if not isinstance(raw, bytes) or len(raw) > 2 * MAX_TEXT:
        return ""
    mark, text = raw[:8], raw[8:]
    if mark == b"UNICODE\0":
        order = "utf-16-be" if _is_ours(exif) else _detect_byte_order(text)
        return text.decode(order, errors="replace").strip("\0\ufeff")
    text = text if mark in (b"ASCII\0\0\0", b"\0" * 8) else raw
    return text.decode(errors="replace").strip("\0\ufeff")


def _is_ours(exif: Image.Exif) -> bool:
    return str(exif.get(_SOFTWARE, "")).startswith("Easel")


def _detect_byte_order(text: bytes) -> str:
    """As its mark says, if it has one. Some programs write UTF-16 in the file's own order without: most prompts have
    more NULs in the high bytes."""
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16-le" if text[:2] == b"\xff\xfe" else "utf-16-be"
    return "utf-16-le" if text[1::2].count(0) > text[0::2].count(0) else "utf-16-be"


def read_xmp_comment(packet: object) -> str:
    """The user comment in an XMP packet, where Draw Things writes its settings; "" where there is none."""
    root = _parse_packet(packet)
    found = None if root is None else root.find(f".//{{{_EXIF}}}UserComment")
    return "" if found is None else "".join(found.itertext()).strip()


def _parse_packet(packet: object) -> ElementTree.Element | None:
    raw = packet.encode() if isinstance(packet, str) else packet
    if not isinstance(raw, bytes) or len(raw) > 2 * MAX_TEXT or b"<!" in raw:  # no DTD, hence no entity bomb
        return None
    try:
        return ElementTree.fromstring(raw.strip(b"\0 \n"))
    except (ElementTree.ParseError, ValueError):
        return None


def _read_packet(packet: object) -> tuple[str, str]:
    """(digital source type, our recipe as text), each empty when it is not there."""
    source_type = recipe = ""
    root = _parse_packet(packet)
    if root is None:
        return source_type, recipe
    for node in root.iter(f"{{{_RDF}}}Description"):
        name = f"{{{_IPTC}}}DigitalSourceType"
        source_type = node.get(name) or node.findtext(name) or source_type
        recipe = node.findtext(f"{{{_EASEL}}}recipe") or recipe
    return clean_source_type(source_type), recipe


def _read_recipe(text: str) -> dict[str, Any] | None:
    try:
        if text.startswith("zlib:"):
            unpack = zlib.decompressobj()
            text = unpack.decompress(base64.b64decode(text[5:]), MAX_TEXT).decode()
        data = json.loads(text) if 0 < len(text) <= MAX_TEXT else None
    except (ValueError, binascii.Error, zlib.error, RecursionError):
        return None
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None

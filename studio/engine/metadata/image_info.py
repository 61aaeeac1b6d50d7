"""Read how an image was made: ours, AUTOMATIC1111's and Forge's infotext, and what ComfyUI, InvokeAI, Fooocus,
SwarmUI and NovelAI write (see studio.engine.metadata.foreign_metadata), in PNG, JPEG, WebP and AVIF."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from studio.core.errors import BadImage, InvalidRequest
from studio.core.foreign_infotexts import CPP_VERSION
from studio.core.image_gate import ImageLimits, detect_format, open_image
from studio.core.infotext import parse_infotext
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.engine.metadata.embed import FORMATS, MAX_TEXT, Metadata, read_metadata
from studio.engine.metadata.file_texts import INFOTEXT_PATTERN, iterate_texts, unpack_texts
from studio.engine.metadata.foreign_metadata import parse_json_object, read_foreign
from studio.engine.metadata.foreign_words import build_foreign_request
from studio.engine.metadata.stealth import read_stealth
from studio.engine.storage.inputs import read_history

_MAX_SHOWN_LENGTH = 20_000  # characters of any one raw value that are shown
_MAX_VALUES = 60  # raw values that are shown
_VERSION_PATTERN = re.compile(r"\bVersion: ([^,\n]{1,80})")
_VERSION_PROGRAMS = (
    (CPP_VERSION, CPP_VERSION),
    ("fooocus", "Fooocus"),
    ("comfy", "ComfyUI"),
    ("forge", "Forge"),
    ("neo", "Forge"),
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ParsedImageInfo:
    """The metadata found in an image. `program` wrote it, "" when nothing was found; `request` is its request in our
    form; `history` the requests before it; `raw` everything that was there, by name; `passed_over` names what our form
    has no field for."""

    program: str = ""
    infotext: str = ""
    request: GenerationRequest | None = None
    history: tuple[GenerationRequest, ...] = ()
    raw: Mapping[str, str] = field(default_factory=dict[str, str])
    passed_over: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    format: str = ""
    bytes: int = 0


def read_image_info(source: Path | bytes, settings: Settings) -> ParsedImageInfo:
    """Read all metadata of the image.

    Raises:
        BadImage: the file does not pass the gate.
    """
    image = open_image(source, limits=ImageLimits.of(settings))
    data = source.read_bytes() if isinstance(source, Path) else source
    kind = detect_format(data) or ""
    about: dict[str, Any] = {"width": image.width, "height": image.height, "format": kind.lower(), "bytes": len(data)}
    if kind not in ("PNG", "JPEG", "WEBP", "AVIF"):
        return ParsedImageInfo(**about)
    with Image.open(io.BytesIO(data), formats=(kind,)) as file:
        metadata = read_metadata(file)
        texts = dict(iterate_texts(file))
    if metadata.infotext:
        texts["parameters"] = metadata.infotext
    if kind in ("PNG", "WEBP"):
        texts = {**unpack_texts(read_stealth(image)), **texts}
    return _interpret_texts(metadata, texts, about)


def read_image_head(path: Path) -> ParsedImageInfo:
    """What the head of an image file tells; no pixel is decoded, so that thousands of files can be looked at.

    Raises:
        BadImage: the file is not one of the four kinds of image that carry something.
    """
    try:
        with Image.open(path, formats=FORMATS) as file:
            metadata, texts = read_metadata(file), dict(iterate_texts(file))
            about = {"width": file.width, "height": file.height, "format": (file.format or "").lower()}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImage("This image file cannot be read.", hint="Use PNG, JPEG, WebP or AVIF.") from error
    if metadata.infotext:
        texts["parameters"] = metadata.infotext
    return _interpret_texts(metadata, texts, about)


def _interpret_texts(metadata: Metadata, texts: dict[str, str], about: dict[str, Any]) -> ParsedImageInfo:
    """What the texts of an image mean; `about` has what is known of its file."""
    texts = {**unpack_texts(texts.get("parameters", "")), **texts}
    about["raw"] = {name: text[:_MAX_SHOWN_LENGTH] for name, text in list(texts.items())[:_MAX_VALUES]}
    infotext = texts.get("parameters", "")
    if metadata.recipe is not None:
        return ParsedImageInfo(infotext=metadata.infotext, **_read_own_recipe(metadata.recipe), **about)
    if INFOTEXT_PATTERN.search(infotext[:MAX_TEXT]) and parse_json_object(infotext) is None:
        parsed = parse_infotext(infotext)
        return ParsedImageInfo(
            program=_detect_program(infotext),
            infotext=infotext,
            request=parsed.request,
            passed_over=tuple(sorted(parsed.unknown)),
            **about,
        )
    found = read_foreign(texts)
    if found is None:
        return ParsedImageInfo(infotext=infotext, **about)
    program, values = found
    request, passed_over = build_foreign_request(values) if values else (None, ())
    return ParsedImageInfo(program=program, infotext=infotext, request=request, passed_over=passed_over, **about)


def _read_own_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    try:
        request = GenerationRequest.from_stored_json(recipe.get("request", recipe))
    except InvalidRequest as error:
        _log.info("a recipe of another version: %s", error.message)
        return {"program": "Easel (another version)"}
    return {
        "program": str(recipe.get("studio", "Easel"))[:80],
        "request": request,
        "history": read_history(recipe)[:-1],
    }


def _detect_program(infotext: str) -> str:
    """The program that wrote an infotext, by its version: Forge's begins with an f."""
    found = _VERSION_PATTERN.search(infotext, max(0, len(infotext) - 10_000))
    version = found[1].lower() if found is not None else ""
    if re.match(r"f\d", version):
        return "Forge"
    if "App: SD.Next" in infotext:
        return "SD.Next"
    return next((program for word, program in _VERSION_PROGRAMS if word in version), "AUTOMATIC1111")

"""The texts inside an image file, by name, whoever wrote them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from PIL import ExifTags, Image

from studio.engine.metadata.embed import MAX_TEXT, XMP_COMMENT, read_metadata, read_xmp_comment
from studio.engine.metadata.foreign_metadata import detect_program, parse_json_object

_EXIF_TAGS = ("ImageDescription", "Make", "Model", "Software", "Artist", "Copyright")  # EXIF texts that are looked at
INFOTEXT_PATTERN = re.compile(
    r"(?:^|\n|, )(?:Steps: \d|Negative prompt:|Sampler: \w)"
)  # without one of them it is any comment


def is_generated_image(image: Image.Image) -> bool:
    """Whether the file's own texts say that a model drew it: an infotext, or what another studio writes."""
    texts = dict(iterate_texts(image))
    texts["parameters"] = texts.get("parameters") or read_metadata(image).infotext
    texts = {**unpack_texts(texts["parameters"]), **texts}
    return bool(INFOTEXT_PATTERN.search(texts["parameters"])) or bool(detect_program(texts))


def iterate_texts(file: Image.Image) -> Iterator[tuple[str, str]]:
    """The image's texts by name. ComfyUI writes into a WebP's EXIF as "prompt:{…}" in whatever text tags are free."""
    for name, value in cast("dict[Any, Any]", file.info).items():
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(text, str) and name not in ("exif", "icc_profile"):
            yield str(name)[:80], text[:MAX_TEXT]
        comment = read_xmp_comment(value) if name in ("xmp", "XML:com.adobe.xmp") else ""
        if comment:
            yield XMP_COMMENT, comment
    try:
        exif = file.getexif()
        tags = {name: exif.get(ExifTags.Base[name]) for name in _EXIF_TAGS}
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):  # hostile EXIF, as Pillow reports it
        return
    for tag, value in tags.items():
        if not isinstance(value, str):
            continue
        name, colon, text = value[:MAX_TEXT].partition(":")
        yield (name.lower(), text) if colon and name.lower() in ("prompt", "workflow") else (tag, value[:MAX_TEXT])


def unpack_texts(text: str) -> dict[str, str]:
    """The texts inside a JSON object of texts, which is how NovelAI hides them and how some write ComfyUI's into a
    comment."""
    found = parse_json_object(text[:MAX_TEXT])
    if found is None:
        return {"parameters": text} if text and INFOTEXT_PATTERN.search(text) else {}
    known = ("prompt", "workflow", "Comment", "Description", "Software", "Source")
    if not isinstance(found.get("prompt"), dict) and "Comment" not in found:
        return {}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
        if name in known and isinstance(value, str | dict)
    }

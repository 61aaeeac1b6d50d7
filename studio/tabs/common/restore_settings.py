"""Settings back from an image or from its infotext."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studio.core.errors import BadImage, InvalidRequest
from studio.core.infotext import parse_infotext
from studio.core.request import GenerationRequest
from studio.core.result import find_last_drawn
from studio.core.settings import Settings
from studio.engine.metadata.image_info import ParsedImageInfo, read_image_info

SETTINGS_MARK = "easel-settings:"  # an infotext may begin with any other word, or with a brace
MAX_IGNORED_CHARS = 1000
_IGNORED_KEYS = {  # facts of the file, no settings
    "Model hash",
    "Version",
    "Hashes",
    "Lora hashes",
    "TI hashes",
    "App",
    "Pipeline",
    "Operations",
    "Index",
    "Init image size",
    "Init image hash",
    "Hires size",
}


MatchModel = Callable[[GenerationRequest, str], GenerationRequest]  # see Engine.match_model


def parse_settings_text(text: Any, match: MatchModel) -> tuple[GenerationRequest, str]:
    """The request that a pasted infotext describes, and a sentence on what was passed over; `match` finds its model by
    hash.

    Raises:
        InvalidRequest: there is nothing to read.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequest("No text to read settings from.", hint="Paste an image's infotext.")
    parsed = parse_infotext(text)
    return match(parsed.request, text), _describe_ignored(parsed.unknown)


def read_image_settings(source: Path | bytes, settings: Settings, match: MatchModel) -> tuple[GenerationRequest, str]:
    """The request that drew an image file, whichever program wrote it, and a sentence on what was passed over; `match`
    finds its model by hash.

    Raises:
        BadImage: the file does not pass the gate, or carries no settings.
    """
    info = read_image_info(source, settings)
    drew = find_request_in_info(info)
    if drew is None:
        raise BadImage("This image contains no settings.", hint="Many services remove them when an image is uploaded.")
    return match(drew, info.infotext), _describe_ignored(info.passed_over)


def write_settings(request: GenerationRequest, ignored: str) -> str:
    """What `read_settings` reads back, as text that a hidden field can hold."""
    return SETTINGS_MARK + json.dumps({"request": request.to_json(), "ignored": ignored})


def read_settings(text: str) -> tuple[GenerationRequest, str]:
    """The inverse of `write_settings`; the text comes from a browser.

    Raises:
        InvalidRequest: it is none of ours.
    """
    try:
        data = json.loads(text.removeprefix(SETTINGS_MARK))
        return GenerationRequest.from_stored_json(data["request"]), str(data.get("ignored") or "")[:MAX_IGNORED_CHARS]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest("These settings cannot be read.", hint="Drop the image again.") from error


def find_request_in_info(info: ParsedImageInfo) -> GenerationRequest | None:
    """The request that drew the image, None when the file does not contain it."""
    infotext = info.infotext if info.program else ""  # else it is any comment
    return find_drawing_request((*info.history, *((info.request,) if info.request else ())), infotext)


def find_drawing_request(story: Sequence[GenerationRequest], infotext: str) -> GenerationRequest | None:
    """The request of an image's story that drew it; where another program did, what its infotext says; None when
    nothing is known."""
    return find_last_drawn(story) or (parse_infotext(infotext).request if infotext.strip() else None)


def _describe_ignored(unknown: Sequence[str] | dict[str, str]) -> str:
    names = sorted(set(unknown) - _IGNORED_KEYS)
    return f"Not applied: {', '.join(names)}." if names else ""

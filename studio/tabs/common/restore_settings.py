"""Settings back from a picture or from its infotext."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core.errors import BadImage, InvalidRequest
from studio.core.infotext import parse_infotext
from studio.core.request import GenerationRequest
from studio.core.result import last_drawn
from studio.core.settings import Settings
from studio.engine.metadata.image_info import PictureInfo, picture_info

_QUIET = {"Model hash", "Version", "Hashes", "Lora hashes", "TI hashes"}


def from_text(text: Any) -> tuple[GenerationRequest, str]:
    """The request that a pasted infotext describes, and a sentence on what was passed over.

    Raises:
        InvalidRequest: there is nothing to read.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequest("There is no text to read the settings from.", hint="Paste a picture's infotext.")
    parsed = parse_infotext(text)
    return parsed.request, _passed_over(parsed.unknown)


def from_picture(path: Path, settings: Settings) -> tuple[GenerationRequest, str]:
    """The request that drew a picture file, whichever program wrote it, and a sentence on what was passed over.

    Raises:
        BadImage: the file does not pass the gate, or carries no settings.
    """
    info = picture_info(path, settings)
    drew = drawing_in(info)
    if drew is None:
        raise BadImage("This picture carries no settings.", hint="Pictures lose them when a service re-encodes them.")
    return drew, _passed_over(info.passed_over)


def drawing_in(info: PictureInfo) -> GenerationRequest | None:
    """The request that drew the picture, None when the file does not tell."""
    told = info.infotext if info.program else ""  # else it is any comment
    return drawing((*info.history, *((info.request,) if info.request else ())), told)


def drawing(story: Sequence[GenerationRequest], infotext: str) -> GenerationRequest | None:
    """The request of a picture's story that drew it; where another program did, what its infotext says; None when nothing is known."""
    return last_drawn(story) or (parse_infotext(infotext).request if infotext.strip() else None)


def _passed_over(unknown: Sequence[str] | dict[str, str]) -> str:
    names = sorted(set(unknown) - _QUIET)
    return f"Passed over: {', '.join(names)}." if names else ""

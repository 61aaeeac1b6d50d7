"""Settings back from a picture or from its infotext."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.core.errors import BadImage, InvalidRequest
from studio.core.images import Limits, open_image
from studio.core.infotext import parse_infotext
from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.engine.embed import read_metadata


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
    """The request inside a picture file: our own recipe where there is one, else its infotext.

    Raises:
        BadImage: the file does not pass the gate, or carries no settings.
    """
    open_image(path, limits=Limits.of(settings))
    metadata = read_metadata(path)
    if metadata.recipe is not None:
        return GenerationRequest.from_json(metadata.recipe.get("request", metadata.recipe)), ""
    if not metadata.infotext.strip():
        raise BadImage("This picture carries no settings.", hint="Pictures lose them when a service re-encodes them.")
    return from_text(metadata.infotext)


def _passed_over(unknown: dict[str, str]) -> str:
    quiet = {"Model hash", "Version", "Hashes", "Lora hashes", "TI hashes"}
    names = sorted(set(unknown) - quiet)
    return f"Passed over: {', '.join(names)}." if names else ""

"""The part of a request that turns a picture into platform formats."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from studio.core.errors import InvalidRequest
from studio.core.finish import Box, Keep, TextOverlay, Watermark


class Extend(StrEnum):
    """What fills a format that no crop fits."""

    CROP = "crop"  # nothing does: it is cropped all the same
    BLUR = "blur"
    COLOUR = "colour"
    MIRROR = "mirror"
    OUTPAINT = "outpaint"


@dataclass(frozen=True, kw_only=True)
class FormatCrop:
    """The user's own crop for one format."""

    format: str
    box: Box


@dataclass(frozen=True, kw_only=True)
class Social:
    """All chosen formats of one picture. `formats` are ids of the platform data, "instagram.story" for example. `crops` win
    over what is found by itself; `focus` is what must be kept. `sheet` adds a contact sheet, `original` the whole picture.
    `zones` bakes the safe zones in, for a proof."""

    formats: tuple[str, ...] = ()
    crops: tuple[FormatCrop, ...] = ()
    focus: Box | None = None
    same: bool = False
    extend: Extend = Extend.CROP
    colour: str = "#000000"
    text: tuple[TextOverlay, ...] = ()
    watermark: Watermark | None = None
    keep: Keep = Keep.MARKER
    zones: bool = False
    upscale: bool = False
    sheet: bool = False
    original: bool = False

    def __post_init__(self) -> None:
        if not self.formats:
            raise InvalidRequest("No format is chosen.", hint="Choose at least one platform format.")

    @property
    def outputs(self) -> int:
        """How many files one picture ends as."""
        return len(self.formats) + self.sheet + self.original

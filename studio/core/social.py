"""Crops for platform formats: the request's part for them, and the results that page and API show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.field_tables.social import BORDER, FILE_TYPES, SOCIAL_FIELDS
from studio.core.finish import Box, TextOverlay, Watermark
from studio.core.finish_choices import ExtendMode, MetadataPolicy
from studio.core.ground import WHITE, check_colour
from studio.core.social_formats import Format

MAX_FORMATS = 200  # of one request


@dataclass(frozen=True, kw_only=True)
class FormatCrop:
    """The user's own crop for one format; of the image with the content hash `image` alone, or of every one ("")."""

    format: str
    box: Box
    image: str = field(default="", metadata={"old_name": "picture"})


@dataclass(frozen=True, kw_only=True)
class SocialExport:
    """All chosen formats of one image. `formats` are ids of the platform data, "instagram.story" for example.
    `crops` win over what is found by itself; `focus` is what must be kept. `same` looks for one composition whose
    subject lies inside the safe zones of all formats at once. `extend` fills formats that no crop fits, `colour`
    ("#rrggbb") is its colour; `ground` lies behind transparent parts where a file has no transparency. `file_type`
    ("jpeg", "png", "webp") is written instead of what each platform prefers. `upscale` enlarges an image that is
    smaller than a format with Lanczos and says nothing. `sheet` adds a contact sheet, `original` the whole image.
    `zones` bakes the safe zones in, for a proof."""

    FIELDS = SOCIAL_FIELDS

    formats: tuple[str, ...] = ()
    crops: tuple[FormatCrop, ...] = ()
    focus: Box | None = None
    same: bool = False
    extend: ExtendMode = ExtendMode.CROP
    colour: str = BORDER
    ground: str = WHITE
    text: tuple[TextOverlay, ...] = ()
    watermark: Watermark | None = None
    keep: MetadataPolicy = MetadataPolicy.MARKER
    file_type: str | None = None
    zones: bool = False
    upscale: bool = False
    sheet: bool = False
    original: bool = False

    def __post_init__(self) -> None:
        if not self.formats:
            raise InvalidRequest("No platform format selected.", hint="Choose at least one platform format.")
        if len(self.formats) > MAX_FORMATS or len(set(self.formats)) < len(self.formats):
            raise InvalidRequest(
                f"More than {MAX_FORMATS} formats are selected, or one is selected twice.",
                hint="Choose each format once.",
            )
        cut = [(crop.format, crop.image) for crop in self.crops]
        stray = [each[0] for each in cut if each[0] not in self.formats or cut.count(each) > 1]
        if stray:
            raise InvalidRequest(
                f"The crop for {stray[0]!r} is given twice, or its format is not selected.",
                hint="Give one crop per selected format.",
            )
        if self.file_type not in (None, *FILE_TYPES.values()):
            raise InvalidRequest(
                f"Unsupported file type {self.file_type[:20]!r} for platform formats.", hint="Use jpeg, png or webp."
            )
        check_colour(self.colour)
        check_colour(self.ground)

    @property
    def outputs(self) -> int:
        """How many files one image ends as."""
        return len(self.formats) + self.sheet + self.original


class Verdict(StrEnum):
    """The quality of a crop."""

    GOOD = "good"
    CHECK = "check"  # something may be missing: look at it
    EXTEND = "extend"  # no crop keeps what matters: extending is offered


class NoteKind(StrEnum):
    """The topic of a note on a crop."""

    INFO = "info"
    ENLARGED = "enlarged"  # the crop has fewer pixels than the format


@dataclass(frozen=True)
class CropNote:
    """A remark on a crop for the user; `short` says it in two or three words, where there is little room."""

    text: str
    kind: NoteKind = NoteKind.INFO
    short: str = ""


@dataclass(frozen=True, kw_only=True)
class CropResult:
    """The crop for one format. `box` is in fractions of the image, `kept` the share of the subject inside it, 0 to 1.
    `keeps` and `loses` describe what is inside and outside; `advice` is the border that would lose nothing."""

    format: str
    box: Box
    kept: float
    keeps: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    notes: tuple[CropNote, ...] = ()
    verdict: Verdict = Verdict.GOOD
    advice: ExtendMode = ExtendMode.CROP
    faces: int = 0
    faces_whole: int = 0


class CropAdvisor(Protocol):
    """Finds crops without making them."""

    def suggest_crops(
        self,
        image: Image.Image,
        formats: Sequence[Format],
        focus: Box | None,
        same: bool,
        own: Mapping[str, Box] = {},
    ) -> list[CropResult]:
        """One result per format, in their order; `own` are the user's crops by format, which are judged and not changed
        but for their shape."""
        ...

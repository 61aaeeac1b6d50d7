"""Platform formats, crops and templates: the part of a request that asks for formats, and what page and HTTP see of the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import Box, Keep, TextOverlay, Watermark

MAX_FORMATS = 200  # of one request
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class Extend(StrEnum):
    """What fills a format that no crop fits."""

    CROP = "crop"  # nothing does: it is cropped all the same
    BLUR = "blur"
    COLOUR = "colour"
    MIRROR = "mirror"
    OUTPAINT = "outpaint"


@dataclass(frozen=True, kw_only=True)
class FormatCrop:
    """The user's own crop for one format; of the picture with the content hash `picture` alone, or of every one ("")."""

    format: str
    box: Box
    picture: str = ""


@dataclass(frozen=True, kw_only=True)
class Social:
    """All chosen formats of one picture. `formats` are ids of the platform data, "instagram.story" for example. `crops` win
    over what is found by itself; `focus` is what must be kept. `same` looks for one composition whose subject lies inside
    the safe zones of all formats at once. `extend` fills formats that no crop fits, `colour` ("#rrggbb") is its colour. `file_type` ("jpeg", "png", "webp") is
    written instead of what each platform prefers.
    `upscale` enlarges a picture that is smaller than a format with Lanczos and says nothing. `sheet` adds a contact sheet,
    `original` the whole picture. `zones` bakes the safe zones in, for a proof."""

    formats: tuple[str, ...] = ()
    crops: tuple[FormatCrop, ...] = ()
    focus: Box | None = None
    same: bool = False
    extend: Extend = Extend.CROP
    colour: str = "#000000"
    text: tuple[TextOverlay, ...] = ()
    watermark: Watermark | None = None
    keep: Keep = Keep.MARKER
    file_type: str | None = None
    zones: bool = False
    upscale: bool = False
    sheet: bool = False
    original: bool = False

    def __post_init__(self) -> None:
        if not self.formats:
            raise InvalidRequest("No format is chosen.", hint="Choose at least one platform format.")
        if len(self.formats) > MAX_FORMATS or len(set(self.formats)) < len(self.formats):
            raise InvalidRequest(
                f"More than {MAX_FORMATS} formats are chosen, or one of them twice.", hint="Choose each format once."
            )
        cut = [(crop.format, crop.picture) for crop in self.crops]
        stray = [each[0] for each in cut if each[0] not in self.formats or cut.count(each) > 1]
        if stray:
            raise InvalidRequest(
                f"The crop for {stray[0]!r} is there twice, or for a format that is not chosen.",
                hint="Give one crop for a chosen format.",
            )
        if self.file_type not in (None, "jpeg", "png", "webp"):
            raise InvalidRequest(
                f"Formats are not written as {self.file_type[:20]!r}.", hint="There are jpeg, png and webp."
            )
        if not _COLOUR.fullmatch(self.colour):
            raise InvalidRequest(f"{self.colour[:40]!r} is not a colour.", hint="Write it as #rrggbb.")

    @property
    def outputs(self) -> int:
        """How many files one picture ends as."""
        return len(self.formats) + self.sheet + self.original


class Confidence(StrEnum):
    """How sure a figure is."""

    A = "A"  # the platform's own page or developer document, read in the year of the data
    B = "B"  # a platform document and derivation, an older one, or two independent readings
    C = "C"  # several well-kept guides agree, the platform publishes nothing
    D = "D"  # one guide, an estimate, or arithmetic

    @property
    def meaning(self) -> str:
        """In words, for a tooltip."""
        return {
            Confidence.A: "the platform says so",
            Confidence.B: "derived from what the platform says",
            Confidence.C: "guides agree",
            Confidence.D: "an estimate",
        }[self]


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Distances from the edges in px of the format."""

    top: int = 0
    right: int = 0
    bottom: int = 0
    left: int = 0


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A rectangle in px of the format. `kind`: "ui" covered by the interface, "avatar" covered by a profile picture, "crop"
    may be cut off, "view" what another surface shows, "safe" and "strict" where text, faces and logos are free, "circle"
    what remains of a round format."""

    id: str
    kind: str
    label: str
    left: int
    top: int
    width: int
    height: int
    confidence: Confidence = Confidence.B


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where a picture stands on a screen, as a sketch in px of the device: the picture is `slot_width` wide from (`left`, `top`)
    and as high as its shape makes it. `round` shows a circle of it. `parts` are what stands around it, kind "frame"."""

    device: str  # "phone" or "computer"
    width: int
    height: int
    left: int
    top: int
    slot_width: int
    round: bool = False
    parts: tuple[Zone, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Citation:
    """Where a figure comes from, and the day that it was read."""

    id: str
    name: str
    read: str


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of picture that a platform takes. `id` is "platform.name", sizes in px, limits in bytes (None: none known).

    `types` are the file types that it takes, the preferred one first; `api_…` what publishing tools may send. `target_bytes`
    is what is aimed at where the limit itself is not sensible. `safe` are the margins for text, faces and logos, `strict` the
    tighter ones of the platform's own advertisement template. `published` is False where the platform states no such size.
    `own` tells that it comes from the user's file.
    """

    id: str
    platform: str
    name: str
    kind: str
    width: int
    height: int
    shape: str = "rect"
    types: tuple[str, ...] = ("jpeg", "png")
    max_bytes: int | None = None
    api_types: tuple[str, ...] = ()
    api_max_bytes: int | None = None
    target_bytes: int | None = None
    safe: Margins = Margins()
    strict: Margins | None = None
    zones: tuple[Zone, ...] = ()
    accepts: str = ""
    min_px: str = ""
    max_px: str = ""
    published: bool = True
    confidence: Confidence = Confidence.D
    sources: tuple[Citation, ...] = ()
    note: str = ""
    own: bool = False

    @property
    def ratio(self) -> float:
        """Width over height."""
        return self.width / self.height

    @property
    def limit(self) -> int | None:
        """The most bytes that a file may have to pass everywhere: the smallest of all limits."""
        known = [limit for limit in (self.max_bytes, self.api_max_bytes, self.target_bytes) if limit is not None]
        return min(known, default=None)

    @property
    def file_type(self) -> str:
        """What it is written as: the first type that we write and that publishing tools may send too."""
        writable = [kind for kind in self.types if kind in ("jpeg", "png")]
        both = [kind for kind in writable if not self.api_types or kind in self.api_types]
        return (both or writable or ["jpeg"])[0]

    @property
    def safe_box(self) -> Box:
        """The safe area as fractions of the format."""
        return _inside(self.safe, self.width, self.height)


@dataclass(frozen=True, kw_only=True)
class Platform:
    """One platform and how many formats it has. `channel` is False for what is no social network (web, e-mail, one's own)."""

    id: str
    title: str
    formats: int
    channel: bool = True


class Verdict(StrEnum):
    """What a crop is worth."""

    GOOD = "good"
    CHECK = "check"  # something may be missing: look at it
    EXTEND = "extend"  # no crop keeps what matters: extending is offered


@dataclass(frozen=True, kw_only=True)
class CropResult:
    """The crop for one format. `box` in fractions of the picture; `kept` is the share of the subject inside it, 0 to 1.
    `keeps` and `loses` say in words what is inside and what is not; `advice` is what would lose nothing."""

    format: str
    box: Box
    kept: float
    keeps: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    verdict: Verdict = Verdict.GOOD
    advice: Extend = Extend.CROP
    faces: int = 0
    faces_whole: int = 0


@dataclass(frozen=True, kw_only=True)
class Template:
    """A starting point for one purpose on one format. `frame` is a prompt with fields in braces, "{subject}" among them;
    `style` words that follow it. `space` is where the picture stays quiet for text: top, bottom, left, right, middle,
    full (a poster of text) or none. `models` and `provider` are advice; `palette` are colours "#rrggbb"."""

    id: str
    name: str
    format: str
    purpose: str
    uses: tuple[str, ...] = ()
    frame: str = "{subject}"
    style: tuple[str, ...] = ()
    negative: str = ""
    space: str = "none"
    models: tuple[str, ...] = ()
    provider: str = ""
    quality: str = "standard"
    palette: tuple[str, ...] = ()
    own: bool = False

    @property
    def platform(self) -> str:
        return self.format.partition(".")[0]


class PlatformData(Protocol):
    """The platforms and their formats, as the page and HTTP may ask for them."""

    def save(self, name: str, width: int, height: int, max_bytes: int | None = None) -> Format:
        """Keep a format of the user's own, `width` × `height` px; one of the same name is replaced. Raises InvalidRequest for
        a name without letters or digits, a size out of range, a shape steeper than 20:1."""
        ...

    def remove(self, format_id: str) -> None:
        """Drop a format that `save` kept. Raises NotFound."""
        ...

    @property
    def as_of(self) -> str:
        """The day of the data, "2026-11-20"."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read, each naming file and entry; the rest is there."""
        ...

    def platforms(self) -> Sequence[Platform]: ...

    def formats(self, platform: str | None = None) -> Sequence[Format]:
        """All formats, or those of one platform. Raises NotFound, naming near ones."""
        ...

    def format(self, format_id: str) -> Format:
        """Raises NotFound, naming near ones."""
        ...

    def zones(self, format_id: str) -> Sequence[Zone]:
        """Everything to be drawn over a preview, the largest first. Raises NotFound."""
        ...

    def frame(self, format_id: str) -> Frame | None:
        """A sketch of the screen that shows this format, None where there is none. Raises NotFound."""
        ...


class TemplateLibrary(Protocol):
    """Templates, ours and a user's own: `of` gives the library of the user of that name."""

    def of(self, user: str) -> TemplateLibrary: ...

    def templates(self, *, platform: str | None = None, purpose: str | None = None) -> Sequence[Template]: ...

    def template(self, template_id: str) -> Template:
        """Raises NotFound, naming near ones."""
        ...

    def search(self, words: str, limit: int = 20) -> Sequence[Template]:
        """The best first; typing errors are forgiven."""
        ...

    def recommend(self, platform: str, purpose: str, limit: int = 5) -> Sequence[Template]: ...

    def save(self, template: Template) -> Template:
        """Keep one of the user's own; one of the same id is replaced. Raises InvalidRequest."""
        ...

    def remove(self, template_id: str) -> None: ...

    def import_file(self, source: Path) -> Sequence[Template]:
        """Take in a file that `export` wrote. Raises InvalidRequest, naming what is wrong."""
        ...

    def export(self, template_ids: Sequence[str]) -> str:
        """The templates as the text of a TOML file."""
        ...


class CropAdvice(Protocol):
    """Finds crops without making them."""

    def advise(
        self, picture: Image.Image, formats: Sequence[str], focus: Box | None, same: bool,
        own: Mapping[str, Box] = {},
    ) -> list[CropResult]:  # fmt: skip
        """One result per format, in their order; `own` are the user's crops by format, which are judged and not changed but
        for their shape. Raises NotFound for a format that is not there."""
        ...


def _inside(margins: Margins, width: int, height: int) -> Box:
    return Box(
        left=margins.left / width,
        top=margins.top / height,
        right=1 - margins.right / width,
        bottom=1 - margins.bottom / height,
    )

"""Platforms and their formats: sizes, limits, zones, and how sure each figure is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from studio.core.finish import Box


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
            Confidence.A: "stated by the platform",
            Confidence.B: "derived from the platform's data",
            Confidence.C: "several guides agree",
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
    """A rectangle in px of the format. `kind`: "ui" covered by the interface, "avatar" covered by a profile image,
    "crop" may be cut off, "view" what another surface shows, "safe" and "strict" where text, faces and logos are free,
    "circle" what remains of a round format."""

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
    """A screen with an image on it, as a sketch in px of the device: the image is `slot_width` wide from (`left`,
    `top`) and as high as its shape makes it. `round` shows a circle of it. `parts` are what stands around it, kind
    "frame"."""

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
    """The source of a number, and the day on which it was read."""

    id: str
    name: str
    read: str


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of image that a platform takes. `id` is "platform.name", sizes in px, limits in bytes (None: none
    known).

    `types` are the file types that it takes, the preferred one first; `api_…` what publishing tools may send.
    `target_bytes` is what is aimed at where the limit itself is not sensible. `safe` are the margins for text, faces
    and logos, `strict` the tighter ones of the platform's own advertisement template. `published` is False where the
    platform states no such size. `own` means that it comes from a user's file, `shared` that this file is everybody's.
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
    shared: bool = False

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
        """The file type to write: the first one that we write and that publishing tools may send too."""
        writable = [kind for kind in self.types if kind in ("jpeg", "png")]
        both = [kind for kind in writable if not self.api_types or kind in self.api_types]
        return (both or writable or ["jpeg"])[0]

    @property
    def safe_box(self) -> Box:
        """The safe area as fractions of the format."""
        return _make_safe_box(self.safe, self.width, self.height)


@dataclass(frozen=True, kw_only=True)
class Platform:
    """One platform and how many formats it has. `channel` is False for what is no social network (web, e-mail, one's
    own). `reads` says which marks of origin it is known to read in files, "" where nothing is known."""

    id: str
    title: str
    formats: int
    channel: bool = True
    reads: str = ""


class PlatformData(Protocol):
    """The platforms and their formats, as the page and HTTP may ask for them: ours, those that an administrator shares
    and one user's own. `of` gives those of the user of that name."""

    def of(self, user: str) -> PlatformData: ...

    def save(self, name: str, width: int, height: int, max_bytes: int | None = None, *, shared: bool = False) -> Format:
        """Keep a format of the user's own, `width` × `height` px, or one that all users `shared`; the user's own of the
        same name is replaced. Raises InvalidRequest for a name without letters or digits, with control characters, or
        of a shared format, too many formats, a size out of range, a shape steeper than 20:1."""
        ...

    def remove(self, format_id: str) -> None:
        """Drop a format that `save` kept, shared ones too. Raises NotFound."""
        ...

    @property
    def as_of(self) -> str:
        """The day of the data, "2026-11-20"."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """The entries that could not be read, each with its file; the rest is available."""
        ...

    def platforms(self) -> Sequence[Platform]: ...

    def formats(self, platform: str | None = None) -> Sequence[Format]:
        """All formats, or those of one platform. Raises NotFound, naming near ones."""
        ...

    def format(self, format_id: str) -> Format:
        """Raises NotFound, naming near ones."""
        ...

    def zones(self, format_id: str) -> Sequence[Zone]:
        """The zones to draw over a preview, the largest first. Raises NotFound."""
        ...

    def frame(self, format_id: str) -> Frame | None:
        """A sketch of the screen that shows this format, None where there is none. Raises NotFound."""
        ...


def _make_safe_box(margins: Margins, width: int, height: int) -> Box:
    return Box(
        left=margins.left / width,
        top=margins.top / height,
        right=1 - margins.right / width,
        bottom=1 - margins.bottom / height,
    )

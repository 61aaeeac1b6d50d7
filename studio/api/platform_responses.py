"""Platforms and their formats as JSON. Lengths in px of the format, limits in bytes, null where none is known."""

# ruff: noqa: N815 - names on the wire are camelCase
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pydantic import BaseModel, Field

from studio.core.social_formats import Format, Frame, Platform, Zone


class PlatformBody(BaseModel):
    """`channel` is false for what is no social network (web, e-mail, one's own). `reads` names the marks of origin that
    the platform is known to read in files."""

    id: str
    title: str
    formats: int
    channel: bool
    reads: str


class PlatformList(BaseModel):
    asOf: str = Field(description="Date of the data.")
    problems: list[str]
    platforms: list[PlatformBody]


class MarginsBody(BaseModel):
    top: int
    right: int
    bottom: int
    left: int


class ZoneBody(BaseModel):
    """`kind`: ui, avatar (covered), crop (may be cut off), view (what another surface shows), safe, strict, circle,
    frame."""

    id: str
    kind: str
    label: str
    left: int
    top: int
    width: int
    height: int
    confidence: str


class CitationBody(BaseModel):
    id: str
    name: str
    read: str


class FormatBody(BaseModel):
    """One format. `limit` is the smallest of all byte limits, `fileType` what it is written as; `confidence` A (the
    platform says so) to D (an estimate). `published` is false where the platform states no such size."""

    id: str
    platform: str
    name: str
    kind: str
    width: int
    height: int
    ratio: float
    shape: str
    types: list[str]
    fileType: str
    limit: int | None
    maxBytes: int | None
    apiTypes: list[str]
    apiMaxBytes: int | None
    targetBytes: int | None
    safe: MarginsBody
    strict: MarginsBody | None
    zones: list[ZoneBody]
    accepts: str
    minPx: str
    maxPx: str
    published: bool
    confidence: str
    confidenceMeans: str
    sources: list[CitationBody]
    note: str
    own: bool


class FormatList(BaseModel):
    platform: str
    asOf: str
    formats: list[FormatBody]


class FrameBody(BaseModel):
    """A sketch of a screen in its own px: the image is `slotWidth` wide from (`left`, `top`)."""

    device: str
    width: int
    height: int
    left: int
    top: int
    slotWidth: int
    round: bool
    parts: list[ZoneBody]


class PlatformSpecs(PlatformBody):
    """`frames` by the id of the format, for those that have one."""

    asOf: str
    specs: list[FormatBody]
    frames: dict[str, FrameBody]


def build_platform_body(platform: Platform) -> PlatformBody:
    """The platform as JSON."""
    return PlatformBody(**dataclasses.asdict(platform))


def build_format_body(of: Format, zones: Sequence[Zone] | None = None) -> FormatBody:
    """The format as JSON, with `zones` in place of those of its own alone."""
    return FormatBody(
        id=of.id,
        platform=of.platform,
        name=of.name,
        kind=of.kind,
        width=of.width,
        height=of.height,
        ratio=round(of.ratio, 4),
        shape=of.shape,
        types=list(of.types),
        fileType=of.file_type,
        limit=of.limit,
        maxBytes=of.max_bytes,
        apiTypes=list(of.api_types),
        apiMaxBytes=of.api_max_bytes,
        targetBytes=of.target_bytes,
        safe=MarginsBody(**dataclasses.asdict(of.safe)),
        strict=MarginsBody(**dataclasses.asdict(of.strict)) if of.strict else None,
        zones=[build_zone_body(zone) for zone in (of.zones if zones is None else zones)],
        accepts=of.accepts,
        minPx=of.min_px,
        maxPx=of.max_px,
        published=of.published,
        confidence=of.confidence.value,
        confidenceMeans=of.confidence.meaning,
        sources=[CitationBody(**dataclasses.asdict(source)) for source in of.sources],
        note=of.note,
        own=of.own,
    )


def build_zone_body(zone: Zone) -> ZoneBody:
    """The zone as JSON."""
    return ZoneBody(**dataclasses.asdict(zone))


def build_frame_body(frame: Frame) -> FrameBody:
    """The sketch as JSON."""
    return FrameBody(
        device=frame.device,
        width=frame.width,
        height=frame.height,
        left=frame.left,
        top=frame.top,
        slotWidth=frame.slot_width,
        round=frame.round,
        parts=[build_zone_body(part) for part in frame.parts],
    )

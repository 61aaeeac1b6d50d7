"""One entry of platforms.toml as a Format."""

from __future__ import annotations

import re
from collections.abc import Mapping

from studio.core.errors import InvalidRequest
from studio.core.social_formats import Citation, Confidence, Format, Frame, Margins, Zone
from studio.social.toml_entries import TomlEntry

MIN_SIDE, MAX_SIDE = 16, 8192  # px
MAX_ASPECT = 20
FORMAT_SHAPES = ("rect", "circle", "circle_center")
FILE_TYPES = ("jpeg", "png", "webp", "gif", "heic", "tiff", "bmp", "pdf")
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")


def read_format(entry: TomlEntry, citations: Mapping[str, Citation], *, own: bool) -> Format:
    """Raises InvalidRequest, naming entry and field, when anything is wrong or unknown."""
    platform, name = _read_name(entry, "platform"), _read_name(entry, "id")
    entry.where = f"{entry.where} ({platform}.{name})"
    width, height = (entry.whole(side, MIN_SIDE, MAX_SIDE) for side in ("width", "height"))
    if not 1 / MAX_ASPECT <= width / height <= MAX_ASPECT:
        raise InvalidRequest(
            f"{entry.where} is too extreme (limit 20:1).", hint=f"Stay between 1:{MAX_ASPECT} and {MAX_ASPECT}:1."
        )
    made = Format(
        id=f"{platform}.{name}",
        platform=platform,
        name=entry.text("name"),
        kind=entry.text("kind", "own"),
        width=width,
        height=height,
        shape=entry.take_choice("shape", FORMAT_SHAPES, "rect"),
        types=_read_types(entry, "types") or ("jpeg",),
        max_bytes=entry.limit("max_bytes"),
        target_bytes=entry.limit("target_bytes"),
        api_types=_read_types(entry, "api_types"),
        api_max_bytes=entry.limit("api_max_bytes"),
        safe=_read_margins(entry, "safe", width, height) or Margins(),
        strict=_read_margins(entry, "safe_strict", width, height),
        zones=tuple(_read_zone(zone, width, height) for zone in entry.take_tables("zones"))
        + tuple(_read_zone(view, width, height, kind="view") for view in entry.take_tables("views")),
        accepts=entry.text("accepts", ""),
        min_px=entry.text("min_px", ""),
        max_px=entry.text("max_px", ""),
        published=entry.take_flag("published", True),
        confidence=_read_confidence(entry),
        note=entry.text("note", ""),
        sources=tuple(_find_citation(source, citations, entry.where) for source in entry.texts("sources")),
        own=own,
    )
    entry.reject_unread_keys()
    return made


def list_zones(of: Format) -> tuple[Zone, ...]:
    """The format's zones, what remains of a round one, and its safe areas, in the order in which they are drawn."""
    drawn = list(of.zones)
    if of.shape != "rect":
        side = min(of.width, of.height)
        left, top = (of.width - side) // 2, (of.height - side) // 2
        drawn.append(
            Zone(id="circle", kind="circle", label="what is shown", left=left, top=top, width=side, height=side)
        )
    for margins, kind, label in (
        (of.safe, "safe", "safe area"),
        (of.strict, "strict", "safe in advertisements"),
    ):
        if margins is not None:
            drawn.append(_make_inner_zone(margins, of, kind, label))
    return tuple(sorted(drawn, key=lambda zone: (zone.kind in ("safe", "strict"), -zone.width * zone.height)))


def read_frame(entry: TomlEntry) -> tuple[tuple[str, ...], Frame]:
    """(the kinds of formats that it is for, the frame); raises as `read_format`."""
    kinds = entry.texts("kinds")
    width, height = (entry.whole(side, MIN_SIDE, MAX_SIDE) for side in ("width", "height"))
    frame = Frame(
        device=entry.take_choice("device", ("phone", "computer")),
        width=width,
        height=height,
        left=entry.whole("x", 0, width - 1),
        top=entry.whole("y", 0, height - 1),
        slot_width=entry.whole("w", 1, width),
        round=entry.take_flag("round", False),
        parts=tuple(_read_zone(part, width, height, kind="frame") for part in entry.take_tables("parts")),
    )
    entry.reject_unread_keys()
    return kinds, frame


def _make_inner_zone(margins: Margins, of: Format, kind: str, label: str) -> Zone:
    return Zone(
        id=kind,
        kind=kind,
        label=label,
        left=margins.left,
        top=margins.top,
        confidence=of.confidence,
        width=of.width - margins.left - margins.right,
        height=of.height - margins.top - margins.bottom,
    )


def _read_name(entry: TomlEntry, field: str) -> str:
    name = entry.text(field)
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidRequest(
            f"{entry.where}: {field!r} is {name[:40]!r}.", hint="Use lowercase letters, digits and underscores."
        )
    return name


def _read_types(entry: TomlEntry, field: str) -> tuple[str, ...]:
    types = entry.texts(field)
    unknown = [kind for kind in types if kind not in FILE_TYPES]
    if unknown:
        raise InvalidRequest(
            f"{entry.where}: {field!r} names {unknown[0]!r}.", hint="There are: " + ", ".join(FILE_TYPES) + "."
        )
    return types


def _read_margins(entry: TomlEntry, field: str, width: int, height: int) -> Margins | None:
    table = entry.take_table(field)
    if table is None:
        return None
    sides = {side: table.whole(side, 0, MAX_SIDE) for side in ("top", "right", "bottom", "left")}
    table.reject_unread_keys()
    if sides["left"] + sides["right"] >= width or sides["top"] + sides["bottom"] >= height:
        raise InvalidRequest(f"{table.where} leaves no area.", hint="Make the margins smaller.")
    return Margins(**sides)


def _read_zone(table: TomlEntry, width: int, height: int, kind: str = "") -> Zone:
    zone = Zone(
        id=table.text("id", "part" if kind == "frame" else None),
        kind=kind or table.take_choice("kind", ("ui", "avatar", "crop")),
        label=table.text("label"),
        left=table.whole("x", 0, width - 1),
        top=table.whole("y", 0, height - 1),
        width=table.whole("w", 1, width),
        height=table.whole("h", 1, height),
        confidence=_read_confidence(table),
    )
    table.reject_unread_keys()
    if zone.left + zone.width > width or zone.top + zone.height > height:
        raise InvalidRequest(f"{table.where} ({zone.id}) extends beyond the format.", hint="Make it smaller.")
    return zone


def _read_confidence(entry: TomlEntry) -> Confidence:
    return Confidence(entry.take_choice("confidence", tuple(Confidence), "D"))


def _find_citation(source: str, citations: Mapping[str, Citation], where: str) -> Citation:
    if source not in citations:
        raise InvalidRequest(f"{where} names the source {source!r}, which does not exist.", hint="Add [source.NAME].")
    return citations[source]

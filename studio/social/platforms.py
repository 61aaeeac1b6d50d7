"""The platforms and their formats: ours in platforms.toml beside this file, the user's own in a file of the same
form."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.core.errors import InvalidRequest, NotFound
from studio.core.social_formats import Citation, Format, Frame, Platform, Zone
from studio.social import own_formats
from studio.social.format_entries import list_zones, read_format, read_frame
from studio.social.toml_entries import TomlEntry, read_toml

BUNDLED_PLATFORMS = Path(__file__).with_name("platforms.toml")
MAX_FORMATS = 2_000


@dataclass
class _PlatformTables:
    """What the files say, so far as it could be read."""

    as_of: str = ""
    titles: dict[str, tuple[str, bool]] = field(default_factory=dict)
    formats: dict[str, Format] = field(default_factory=dict)
    frames: dict[str, Frame] = field(default_factory=dict)  # by the kind of format
    problems: list[str] = field(default_factory=list)


class Platforms:
    """The platform data (PlatformData of studio.core.social). `own` is the user's file, which need not be there: its
    formats join ours, and replace ours of the same id. It is read again when it has changed. A broken entry is left out
    and named in `problems`; so is a broken file, and the rest works. Safe to ask from any thread."""

    def __init__(self, own: Path | None = None, *, ours: Path = BUNDLED_PLATFORMS) -> None:
        self._ours, self._own = ours, own
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._data: _PlatformTables | None = None

    @property
    def as_of(self) -> str:
        return self._get_tables().as_of

    @property
    def problems(self) -> Sequence[str]:
        return tuple(self._get_tables().problems)

    def save(self, name: str, width: int, height: int, max_bytes: int | None = None) -> Format:
        made = own_formats.make_own_format(name, width, height, max_bytes)
        with self._lock:
            own_formats.write_own_format(self._require_file(), made)
            self._data = None
        return made

    def remove(self, format_id: str) -> None:
        with self._lock:
            own_formats.remove_own_format(self._require_file(), format_id)
            self._data = None

    def _require_file(self) -> Path:
        if self._own is None:
            raise InvalidRequest("This studio keeps no formats of your own.", hint="Start it with a configuration.")
        return self._own

    def platforms(self) -> Sequence[Platform]:
        data = self._get_tables()
        counted: dict[str, int] = {}
        for each in data.formats.values():
            counted[each.platform] = counted.get(each.platform, 0) + 1
        titles = {**data.titles, **{name: (name.capitalize(), False) for name in counted if name not in data.titles}}
        return tuple(
            Platform(id=name, title=title, formats=counted[name], channel=channel)
            for name, (title, channel) in titles.items()
            if name in counted
        )

    def formats(self, platform: str | None = None) -> Sequence[Format]:
        formats = self._get_tables().formats.values()
        if platform is None:
            return tuple(formats)
        found = tuple(each for each in formats if each.platform == platform)
        if not found:
            raise _make_unknown_error("platform", platform, [each.id for each in self.platforms()])
        return found

    def format(self, format_id: str) -> Format:
        formats = self._get_tables().formats
        if format_id not in formats:
            raise _make_unknown_error("format", format_id, formats)
        return formats[format_id]

    def zones(self, format_id: str) -> Sequence[Zone]:
        return list_zones(self.format(format_id))

    def frame(self, format_id: str) -> Frame | None:
        return self._get_tables().frames.get(self.format(format_id).kind)

    def _get_tables(self) -> _PlatformTables:
        """The data, read again when the user's file is another than last time."""
        with self._lock:
            stamp = _get_file_stamp(self._own)
            if self._data is None or stamp != self._stamp:
                self._data, self._stamp = self._read_files(), stamp
            return self._data

    def _read_files(self) -> _PlatformTables:
        data = _PlatformTables()
        citations: dict[str, Citation] = {}
        for file, own in ((self._ours, False), (self._own, True)):
            if file is not None and (not own or file.is_file()):
                _add_file(file, data, citations, own=own)
        return data


def _add_file(file: Path, data: _PlatformTables, citations: dict[str, Citation], *, own: bool) -> None:
    """Add the file's formats to `data`; whatever is wrong becomes a problem."""
    try:
        tables = read_toml(file)
    except InvalidRequest as error:
        data.problems.append(error.message)
        return
    data.as_of = data.as_of or str(tables.get("as_of", ""))
    for key in set(tables) - {"schema", "as_of", "review_every_days", "platform", "source", "frame", "format"}:
        data.problems.append(f"{file.name} has a table {key!r} that is not known.")
    for kind, read in (("platform", _read_platform), ("source", _read_source)):
        named = tables.get(kind, {})
        for name, fields in named.items() if isinstance(named, dict) else ():
            with _collect_problems(data):
                read(TomlEntry(fields, f"{file.name}, {kind}.{name}"), name, data, citations)
    for number, fields in _iter_entries(tables, "frame"):
        with _collect_problems(data):
            kinds, frame = read_frame(TomlEntry(fields, f"{file.name}, frame {number}"))
            data.frames |= dict.fromkeys(kinds, frame)
    for number, fields in _iter_entries(tables, "format"):
        with _collect_problems(data):
            made = read_format(TomlEntry(fields, f"{file.name}, format {number}"), citations, own=own)
            _add_format(made, data, own=own)


def _iter_entries(tables: dict[str, Any], kind: str) -> Iterator[tuple[int, Any]]:
    entries = tables.get(kind, [])
    return iter(enumerate(entries if isinstance(entries, list) else [], 1))


def _add_format(made: Format, data: _PlatformTables, *, own: bool) -> None:
    if len(data.formats) >= MAX_FORMATS:
        raise InvalidRequest(f"There are more than {MAX_FORMATS} formats.", hint="Drop some.")
    if made.id in data.formats and not own:
        raise InvalidRequest(f"The format {made.id} is there twice.", hint="Drop one.")
    data.formats[made.id] = made


@contextmanager
def _collect_problems(data: _PlatformTables) -> Iterator[None]:
    """Turns an InvalidRequest into a line among the problems."""
    try:
        yield
    except InvalidRequest as error:
        data.problems.append(error.message)


def _read_platform(entry: TomlEntry, name: str, data: _PlatformTables, citations: dict[str, Citation]) -> None:
    title, channel = entry.text("title"), entry.take_flag("channel", True)
    entry.done()
    data.titles[name] = (title, channel)


def _read_source(entry: TomlEntry, name: str, data: _PlatformTables, citations: dict[str, Citation]) -> None:
    made = Citation(id=name, name=entry.text("name"), read=entry.text("read"))
    entry.done()
    citations[name] = made


def _get_file_stamp(file: Path | None) -> tuple[int, int] | None:
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if found else None


def _make_unknown_error(what: str, name: str, known: Iterable[str]) -> NotFound:
    near = difflib.get_close_matches(name.lower(), list(known), n=4, cutoff=0.5)
    part = name.lower().partition(".")[2] or name.lower()
    near += [each for each in known if part in each and each not in near][: 6 - len(near)]
    hint = "Near it: " + ", ".join(near) + "." if near else f"There are {len(list(known))} of them; ask for the list."
    return NotFound(f"There is no {what} {name[:80]!r}.", hint=hint, details={"near": near})

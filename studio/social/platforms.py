"""The platforms and their formats: ours in platforms.toml beside this file, the user's own in a file of the same
form."""

from __future__ import annotations

import dataclasses
import difflib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from studio.core.errors import InvalidRequest, NotFound
from studio.core.social_formats import Citation, Format, Frame, Platform, Zone
from studio.core.user import LOCAL_USER
from studio.social import own_formats
from studio.social.format_entries import list_zones, read_format, read_frame
from studio.social.toml_entries import TomlEntry, read_toml

BUNDLED_PLATFORMS = Path(__file__).with_name("platforms.toml")
MAX_FORMATS = 2_000


@dataclass
class _PlatformTables:
    """The readable contents of the files."""

    as_of: str = ""
    titles: dict[str, tuple[str, bool, str]] = field(default_factory=dict)
    formats: dict[str, Format] = field(default_factory=dict)
    frames: dict[str, Frame] = field(default_factory=dict)  # by the kind of format
    problems: list[str] = field(default_factory=list)


class Platforms:
    """The platform data (PlatformData of studio.core.social_formats). `own` is the file of whoever may use the studio
    without a login, which need not be there: its formats join ours, and replace ours of the same id. With logins they
    are everybody's, and each user has a file beside it, whose formats nobody else sees (`of`). Files are read again
    when they have changed. A broken entry is left out and named in `problems`; so is a broken file, and the rest works.
    Safe to ask from any thread."""

    def __init__(
        self, own: Path | None = None, *, ours: Path = BUNDLED_PLATFORMS, shared: Platforms | None = None
    ) -> None:
        """`shared` is the data of all users, in whose place the formats in `own` come."""
        self._ours, self._own, self._shared = ours, own, shared
        self._lock = threading.RLock()
        self._stamp: tuple[tuple[int, int] | None, ...] = ()
        self._data: _PlatformTables | None = None
        self._users: dict[str, Platforms] = {}

    def of(self, user: str) -> Platforms:
        """The platforms of that user. The one user without a login has the file itself."""
        if user == LOCAL_USER.name:
            return self
        with self._lock:
            if user not in self._users:
                name = quote(user, safe="").replace(".", "%2E")
                own = self._own and self._own.parent / "formats" / f"{name}.toml"
                self._users[user] = Platforms(own, ours=self._ours, shared=self)
            return self._users[user]

    @property
    def as_of(self) -> str:
        return self._get_tables().as_of

    @property
    def problems(self) -> Sequence[str]:
        return tuple(self._get_tables().problems)

    def save(self, name: str, width: int, height: int, max_bytes: int | None = None, *, shared: bool = False) -> Format:
        if shared and self._shared is not None:
            made = self._shared.save(name, width, height, max_bytes)
            return dataclasses.replace(made, shared=True)
        made = own_formats.make_own_format(name, width, height, max_bytes)
        if self._shared is not None and made.id in self._shared._get_tables().formats:
            raise InvalidRequest(f"A format called “{made.name}” is shared already.", hint="Choose another name.")
        with self._lock:
            own_formats.write_own_format(self._require_file(), made)
            self._data = None
        return made

    def remove(self, format_id: str) -> None:
        found = self._get_tables().formats.get(format_id)
        if self._shared is not None and found is not None and found.shared:
            self._shared.remove(format_id)
            return
        with self._lock:
            own_formats.remove_own_format(self._require_file(), format_id)
            self._data = None

    def _require_file(self) -> Path:
        if self._own is None:
            raise InvalidRequest(
                "Custom formats are not available in this studio.", hint="Start it with a configuration."
            )
        return self._own

    def platforms(self) -> Sequence[Platform]:
        data = self._get_tables()
        counted: dict[str, int] = {}
        for each in data.formats.values():
            counted[each.platform] = counted.get(each.platform, 0) + 1
        unnamed = {name: (name.capitalize(), False, "") for name in counted if name not in data.titles}
        return tuple(
            Platform(id=name, title=title, formats=counted[name], channel=channel, reads=reads)
            for name, (title, channel, reads) in {**data.titles, **unnamed}.items()
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
        """The data, read again when a user's file is another than last time."""
        with self._lock:
            stamp = tuple(_get_file_stamp(file) for file, _ in self._list_files())
            if self._data is None or stamp != self._stamp:
                self._data, self._stamp = self._read_files(), stamp
            return self._data

    def _list_files(self) -> list[tuple[Path, bool]]:
        """The users' files, everybody's first, and whether each is shared."""
        shared = self._shared._own if self._shared is not None else None
        return [(file, each) for file, each in ((shared, True), (self._own, False)) if file is not None]

    def _read_files(self) -> _PlatformTables:
        data = _PlatformTables()
        citations: dict[str, Citation] = {}
        _add_file(self._ours, data, citations, own=False)
        for file, shared in self._list_files():
            if file.is_file():
                _add_file(file, data, citations, own=True, shared=shared)
        return data


def _add_file(
    file: Path, data: _PlatformTables, citations: dict[str, Citation], *, own: bool, shared: bool = False
) -> None:
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
            _add_format(dataclasses.replace(made, shared=shared), data, own=own)


def _iter_entries(tables: dict[str, Any], kind: str) -> Iterator[tuple[int, Any]]:
    entries = tables.get(kind, [])
    return iter(enumerate(entries if isinstance(entries, list) else [], 1))


def _add_format(made: Format, data: _PlatformTables, *, own: bool) -> None:
    if len(data.formats) >= MAX_FORMATS:
        raise InvalidRequest(f"There are more than {MAX_FORMATS} formats.", hint="Remove some.")
    if made.id in data.formats and not own:
        raise InvalidRequest(f"The format {made.id} exists twice.", hint="Remove one.")
    data.formats[made.id] = made


@contextmanager
def _collect_problems(data: _PlatformTables) -> Iterator[None]:
    """Turns an InvalidRequest into a line among the problems."""
    try:
        yield
    except InvalidRequest as error:
        data.problems.append(error.message)


def _read_platform(entry: TomlEntry, name: str, data: _PlatformTables, citations: dict[str, Citation]) -> None:
    title, channel, reads = entry.text("title"), entry.take_flag("channel", True), entry.text("reads", "")
    entry.reject_unread_keys()
    data.titles[name] = (title, channel, reads)


def _read_source(entry: TomlEntry, name: str, data: _PlatformTables, citations: dict[str, Citation]) -> None:
    made = Citation(id=name, name=entry.text("name"), read=entry.text("read"))
    entry.reject_unread_keys()
    citations[name] = made


def _get_file_stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _make_unknown_error(what: str, name: str, known: Iterable[str]) -> NotFound:
    near = difflib.get_close_matches(name.lower(), list(known), n=4, cutoff=0.5)
    part = name.lower().partition(".")[2] or name.lower()
    near += [each for each in known if part in each and each not in near][: 6 - len(near)]
    hint = "Did you mean: " + ", ".join(near) + "." if near else f"See the list of all {len(list(known))}."
    return NotFound(f"Unknown {what} {name[:80]!r}.", hint=hint, details={"near": near})

"""Entries of a TOML file read strictly: every field of a known name, type and range, or the entry is refused with its
name."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import InvalidRequest

MAX_FILE_BYTES = 2_000_000  # bytes
MAX_TEXT_LENGTH = 2_000  # characters of one text
MAX_LIST_LENGTH = 64


class TomlEntry:
    """One table of a file. Each getter takes its field out; `done` refuses what nobody asked for."""

    def __init__(self, fields: Any, where: str) -> None:
        if not isinstance(fields, Mapping):
            raise InvalidRequest(f"{where} is not a table.", hint="Write it as [[name]] with fields below.")
        self._fields = dict(fields)
        self.where = where

    def text(self, name: str, default: str | None = None) -> str:
        return self._take_value(name, str, default)

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self._take_value(name, int, default)
        if not low <= value <= high:
            raise self._make_field_error(name, f"a whole number from {low} to {high}")
        return value

    def limit(self, name: str) -> int | None:
        """A limit in bytes, None when there is none."""
        return self.whole(name, 1_000, 2**31) if name in self._fields else None

    def take_flag(self, name: str, default: bool) -> bool:
        return self._take_value(name, bool, default)

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._take_value(name, list, [])
        if len(values) > MAX_LIST_LENGTH or not all(
            isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH for value in values
        ):
            raise self._make_field_error(name, f"a list of up to {MAX_LIST_LENGTH} texts")
        return tuple(values)

    def take_choice(self, name: str, known: Collection[str], default: str | None = None) -> str:
        value = self.text(name, default)
        if value not in known:
            raise self._make_field_error(name, "one of " + ", ".join(sorted(known)))
        return value

    def take_table(self, name: str) -> TomlEntry | None:
        return TomlEntry(self._fields.pop(name), f"{self.where}, {name}") if name in self._fields else None

    def take_tables(self, name: str) -> list[TomlEntry]:
        values = self._take_value(name, list, [])
        if len(values) > MAX_LIST_LENGTH:
            raise self._make_field_error(name, f"a list of at most {MAX_LIST_LENGTH} tables")
        return [TomlEntry(value, f"{self.where}, {name}") for value in values]

    def reject_unread_keys(self) -> None:
        """Raises InvalidRequest when a field is left over."""
        if self._fields:
            raise InvalidRequest(
                f"{self.where} has a field {next(iter(self._fields))!r} that is not known.",
                hint="Check its spelling.",
            )

    def _take_value(self, name: str, kind: type, default: Any) -> Any:
        value = self._fields.pop(name, default)
        if value is None:
            raise InvalidRequest(f"{self.where}: the field {name!r} is missing.", hint="Add it.")
        wanted = {
            str: f"a text of up to {MAX_TEXT_LENGTH} characters",
            int: "a whole number",
            bool: "true or false",
            list: "a list",
        }
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self._make_field_error(name, wanted[kind])
        if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
            raise self._make_field_error(name, wanted[str])
        return value

    def _make_field_error(self, name: str, wanted: str) -> InvalidRequest:
        return InvalidRequest(f"{self.where}: {name!r} is not {wanted}.", hint="Correct it in the file.")


def read_toml(file: Path) -> dict[str, Any]:
    """The file's tables.

    Raises:
        InvalidRequest: it cannot be read, is larger than 2 MB or is no TOML; the message names the file.
    """
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InvalidRequest(f"{file.name} is larger than {MAX_FILE_BYTES // 1_000_000} MB.", hint="Split it.")
        return parse_toml(file.read_text(encoding="utf-8"), file.name)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file.name} cannot be read.", hint="It must be a UTF-8 text file.") from error


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """The tables in `text`; raises InvalidRequest naming `name` and the line."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{name} is not a TOML file: {error}.", hint="Correct that line.") from error

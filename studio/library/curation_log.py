"""The file beside the images that keeps what users noted of them, so that an index made anew has it again.

A signed image may not be changed, so favourites, tags and collections cannot be written into the images themselves.
Each line is one change as JSON: when, whose, which assets, what. The order of the lines is the order of the changes.
Lines are added inside the transaction that makes the change, so whoever holds one may put a shorter file in place.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from studio.core.durable_files import replace_synced, sync_folder, translate_os_errors, write_synced
from studio.library.curation_folding import Line, fold_lines

LIBRARY_FOLDER = ".library"
LOG_FILE = "curation.jsonl"
_WORTHWHILE = 0.5  # of the file, which a shorter one may have at most

_log = logging.getLogger(__name__)


class CurationLog:
    """The log of an outputs folder. Thread-safe; other processes may append too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / LIBRARY_FOLDER / LOG_FILE
        self._lock = threading.Lock()

    def append(self, user: str, changes: Iterable[tuple[Mapping[str, Any], Sequence[str]]]) -> None:
        """Add a line for each (change, ids), inside a transaction of the database; `sync` brings them to the disk, so
        that nobody who waits for the database waits for that too.

        Raises:
            StorageFailed: they cannot be written.
        """
        lines = _write_lines((user, change, ids) for change, ids in changes)
        with self._lock, translate_os_errors("the library's notes"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if file.tell() and not self._ends_whole():
                    file.write(b"\n")  # a line that a power cut left unfinished stays alone
                file.write(lines)

    def sync(self) -> None:
        """Wait until all lines are on the disk; nothing when there are none.

        Raises:
            StorageFailed: they cannot be written.
        """
        if self.path.is_file():
            with translate_os_errors("the library's notes"), self.path.open("rb+") as file:
                os.fsync(file.fileno())

    def read(self) -> Iterator[Line]:
        """(user, change, ids) of every line; what cannot be read is left out."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            yield from self._parse(file)

    def compact(self, transaction: Callable[[], AbstractContextManager[object]]) -> bool:
        """Put a file that says the same in fewer lines in place of one that is much longer; returns whether that was
        done. `transaction` keeps everybody else from adding lines, which is asked for only at the end.

        Raises:
            StorageFailed: it cannot be written; the old file is kept.
        """
        if not self.path.is_file():
            return False
        part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        with translate_os_errors("the library's notes"):
            try:
                with self.path.open("rb") as file:
                    whole = file.read()
                    whole = whole[: whole.rfind(b"\n") + 1]
                    short = _write_lines(fold_lines(self._parse(whole.splitlines())))
                    if len(short) > len(whole) * _WORTHWHILE:
                        return False
                    write_synced(part, short)
                    with transaction(), self._lock:
                        return self._put_in_place(part, os.fstat(file.fileno()), len(whole))
            finally:
                part.unlink(missing_ok=True)

    def forget(self, user: str, transaction: Callable[[], AbstractContextManager[object]]) -> None:
        """Leave the lines of `user` out from now on. `transaction` keeps everybody else from adding lines.

        Raises:
            StorageFailed: it cannot be written; the old file is kept.
        """
        if not self.path.is_file():
            return
        with transaction(), self._lock, translate_os_errors("the library's notes"):
            with self.path.open("rb") as file:
                kept = [line for line in file if not _is_line_of(line, user)]
            replace_synced(self.path, b"".join(kept))

    def _put_in_place(self, part: Path, old: os.stat_result, length: int) -> bool:
        """Add the lines that came after the first `length` bytes, and rename; not where another process did already."""
        if not os.path.samestat(os.stat(self.path), old):
            return False
        with self.path.open("rb") as file:
            file.seek(length)
            later = file.read()
        with part.open("ab") as file:
            file.write(later)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)
        sync_folder(self.path.parent)
        return True

    def _parse(self, lines: Iterable[bytes]) -> Iterator[Line]:
        for number, line in enumerate(lines, 1):
            try:
                found = json.loads(line.decode("utf-8", "replace"))
                yield str(found["user"]), dict(found["change"]), [str(one) for one in found["ids"]]
            except (ValueError, KeyError, TypeError, RecursionError):
                _log.warning("line %d of %s is not understood", number, self.path.name)

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _is_line_of(line: bytes, user: str) -> bool:
    try:
        return json.loads(line.decode("utf-8", "replace"))["user"] == user
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _write_lines(lines: Iterable[Line]) -> bytes:
    at = round(time.time(), 3)
    return "".join(
        json.dumps({"at": at, "user": user, "change": dict(change), "ids": list(ids)}) + "\n"
        for user, change, ids in lines
    ).encode()

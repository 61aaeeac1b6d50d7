"""The file beside the images that keeps what users noted of them, so that an index made anew has it again.

A signed image may not be changed, so favourites, tags and collections cannot be written into the images themselves.
Each line is one change as JSON: when, whose, which assets, what. The order of the lines is the order of the changes.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.core.durable_files import translate_os_errors

LIBRARY_FOLDER = ".library"
LOG_FILE = "curation.jsonl"

_log = logging.getLogger(__name__)


class CurationLog:
    """The log of an outputs folder. Thread-safe; other processes may append too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / LIBRARY_FOLDER / LOG_FILE
        self._lock = threading.Lock()

    def append(self, user: str, changes: Iterable[tuple[Mapping[str, Any], Sequence[str]]]) -> None:
        """Add a line for each (change, ids); `sync` brings them to the disk, so that nobody who waits for the database
        waits for that too.

        Raises:
            StorageFailed: they cannot be written.
        """
        at = round(time.time(), 3)
        lines = "".join(
            json.dumps({"at": at, "user": user, "change": dict(change), "ids": list(ids)}) + "\n"
            for change, ids in changes
        )
        with self._lock, translate_os_errors("the library's notes"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if file.tell() and not self._ends_whole():
                    file.write(b"\n")  # a line that a power cut left unfinished stays alone
                file.write(lines.encode())

    def sync(self) -> None:
        """Wait until all lines are on the disk; nothing when there are none.

        Raises:
            StorageFailed: they cannot be written.
        """
        if self.path.is_file():
            with translate_os_errors("the library's notes"), self.path.open("rb+") as file:
                os.fsync(file.fileno())

    def read(self) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """(user, change, ids) of every line; what cannot be read is left out."""
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                try:
                    found = json.loads(line)
                    yield str(found["user"]), dict(found["change"]), [str(one) for one in found["ids"]]
                except (ValueError, KeyError, TypeError, RecursionError):
                    _log.warning("line %d of %s is not understood", number, self.path.name)

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

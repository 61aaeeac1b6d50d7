"""Removing kept images that nothing names any more: sources and masks that were let in and never, or no longer, used.

Kept is what a job (waiting, running or ended), a saved image's recipe or history, a saved chain or another kept image's
history names. What only an open page or a browser's memory names counts as used for as long as the page is opened, or
stays open, more often than once in MIN_AGE.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from studio.core.durable_files import translate_os_errors
from studio.core.errors import StorageFailed
from studio.library.database import Database

MIN_AGE = 30 * 86_400.0  # seconds since an image was last let in, shown or named
_PERIOD = 86_400.0  # seconds between two looks
_CHUNK = 500  # rows that are read at once
_HASH = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"([0-9a-f]{64})\.png|\..*\.part")
_NAMING_COLUMNS = (
    ("jobs", "request"),
    ("recipes", "request"),
    ("recipes", "history"),
    ("inputs", "history"),
    ("chains", "steps"),
)

_log = logging.getLogger(__name__)


class InputCleanup:
    """Looks through the kept images at the start and once a day, in a thread of its own."""

    def __init__(self, database: Database, folder: Path, get_days: Callable[[], int] = lambda: 30) -> None:
        """`get_days` gives how long an image is kept that nothing uses."""
        self._get_days = get_days
        self._database = database
        self._folder = folder
        self._closed = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="input cleanup", daemon=True).start()

    def close(self) -> None:
        """Stop looking; what is being removed now is still removed."""
        self._closed.set()

    def remove_unused(self, min_age: float = MIN_AGE) -> int:
        """Remove the kept images that nothing names and that were not used for `min_age` seconds; returns how many.

        Raises:
            StorageFailed: the folder or the library cannot be read or written.
        """
        before = time.time() - min_age
        with translate_os_errors("the list of kept images"):
            old = dict(self._iterate_old_files(before))
        if not old:
            return 0
        named = self._list_named_hashes(set(old.values()) - {""})
        return sum(self._remove(path, name, before) for path, name in old.items() if name not in named)

    def remove_unnamed(self, names: set[str]) -> None:
        """Remove those of the kept images `names` that no user has any more and nothing names; raises as
        `remove_unused`."""
        for name in names - self._list_named_hashes(names):
            path = self._folder / name[:2] / f"{name}.png"
            with translate_os_errors("the list of kept images"), self._database.transaction() as connection:
                if not connection.execute("SELECT 1 FROM inputs WHERE hash = ?", (name,)).fetchone():
                    path.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                if count := self.remove_unused(self._get_days() * 86_400.0):
                    _log.info("removed %d kept images that nothing named any more", count)
            except StorageFailed as error:
                _log.warning("unused kept images were not removed: %s", error.message)
            self._closed.wait(_PERIOD)

    def _iterate_old_files(self, before: float) -> Iterator[tuple[Path, str]]:
        """(file, content hash; "" for a part that was never finished) of all that were last used before `before`."""
        for path in self._folder.glob("??/*"):
            found = _FILE.fullmatch(path.name)
            with contextlib.suppress(FileNotFoundError):
                if found is not None and path.stat().st_mtime < before:
                    yield path, found[1] or ""

    def _list_named_hashes(self, wanted: set[str]) -> set[str]:
        """Those of `wanted` that anything names. Any 64 hexadecimal digits count, so that a recipe of another version
        is understood too."""
        found: set[str] = set()
        for table, column in _NAMING_COLUMNS:
            last = -1
            while not self._closed.is_set():
                rows = self._database.rows(
                    f"SELECT rowid AS place, {column} AS text FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?",
                    (last, _CHUNK),
                )
                if not rows:
                    break
                last = rows[-1]["place"]
                found |= wanted.intersection(name for row in rows for name in _HASH.findall(row["text"]))
        return found if not self._closed.is_set() else wanted

    def _remove(self, path: Path, name: str, before: float) -> int:
        """Remove one file and what is known of it, unless it was used meanwhile; 1 when it was removed."""
        with translate_os_errors("the list of kept images"), self._database.transaction() as connection:
            if not path.exists() or path.stat().st_mtime >= before:
                return 0
            connection.execute("DELETE FROM inputs WHERE hash = ?", (name,))
            path.unlink()
        return 1 if name else 0

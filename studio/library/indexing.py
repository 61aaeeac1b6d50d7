"""Looks and meaning of new images are worked out while nothing else is to be done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from studio.core.errors import StudioError
from studio.library.database import Database
from studio.library.likeness import hash_image
from studio.library.meaning import INDEX_SECONDS, Meaning

_PERIOD = 5.0  # seconds between two looks for work
_HASHED, _EMBEDDED = 20, 32  # assets at a time: a job that begins meanwhile waits for no more
_MAX_SQL = 1 << 63

_log = logging.getLogger(__name__)


class Indexing:
    """A thread of its own. `is_busy` says whether a job runs, `get_thumbnail` gives the small image of an asset by id
    and user and raises StudioError where there is none."""

    def __init__(
        self,
        database: Database,
        meaning: Meaning,
        is_busy: Callable[[], bool],
        get_thumbnail: Callable[[str, str], Path],
    ) -> None:
        self._database = database
        self._meaning = meaning
        self._is_busy = is_busy
        self._get_thumbnail = get_thumbnail
        self._closed = threading.Event()
        self._revision = -1
        self._thread = threading.Thread(target=self._run, name="library indexing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread; waits for what it is doing, for at most five seconds."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def work(self) -> int:
        """Do a little of what is to be done; returns for how many assets."""
        return self._hash_some() + self._embed_some()

    def _run(self) -> None:
        while not self._closed.wait(_PERIOD):
            revision = self._database.revision
            if revision == self._revision:
                continue
            try:
                while not self._closed.is_set() and not self._is_busy():
                    if not self.work():
                        self._revision = revision
                        break
                    revision = self._database.revision
            except StudioError as error:
                _log.warning("images are not indexed by looks or meaning: %s", error.message)
                self._revision = revision

    def _hash_some(self) -> int:
        with self._database.read(INDEX_SECONDS) as connection:
            rows = connection.execute(
                "SELECT assets.seq, id, user FROM assets LEFT JOIN hashes ON hashes.seq = assets.seq"
                " WHERE state = 'done' AND kind = 'image' AND hashes.seq IS NULL ORDER BY assets.seq DESC LIMIT ?",
                (_HASHED,),
            ).fetchall()
        found = [(row["seq"], _to_signed(self._hash(row["id"], row["user"]))) for row in rows]
        if found:
            with self._database.transaction() as connection:
                connection.executemany("INSERT OR REPLACE INTO hashes (seq, hash) VALUES (?, ?)", found)
        return len(found)

    def _hash(self, asset_id: str, user: str) -> int | None:
        try:
            with Image.open(self._get_thumbnail(asset_id, user), formats=("JPEG", "WEBP")) as image:
                return hash_image(image)
        except (StudioError, OSError, ValueError, SyntaxError) as error:
            _log.debug("%s has no hash: %r", asset_id, error)
            return None

    def _embed_some(self) -> int:
        texts = self._meaning.list_missing(_EMBEDDED)
        if texts:
            self._meaning.add(texts)
        return len(texts)


def _to_signed(value: int | None) -> int | None:
    """SQLite's whole numbers have a sign."""
    return value - (1 << 64) if value is not None and value >= _MAX_SQL else value

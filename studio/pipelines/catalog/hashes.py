"""SHA-256 of weight files, computed once: a file that did not change is not read again."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from studio.core.errors import ModelBroken
from studio.pipelines.catalog.file_stamps import make_stamp

_CHUNK = 8 << 20


class HashCache:
    """Hashes by path, size and time of change, kept in one small SQLite file. Safe from any thread.

    A cache that cannot be written or read costs time and nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def find_known(self, path: Path) -> str:
        """The hash when it is known and the file did not change since, else empty."""
        with self._lock:
            return self._read_hash(path)

    def load_all(self) -> dict[tuple[str, int, int], str]:
        """Every remembered hash by (path, size, mtime in ns)."""
        if not self._file.exists():
            return {}
        try:
            with self._lock, closing(self._open_database()) as database:
                return {row[:3]: row[3] for row in database.execute("SELECT path, size, changed, sha256 FROM hashes")}
        except (sqlite3.Error, OSError):
            return {}

    def sha256(self, path: Path) -> str:
        """The file's hash in hex; a folder's is the hash of its weight files' names and hashes. Seconds for each
        gigabyte.

        Raises:
            ModelBroken: the file cannot be read.
        """
        known = self.find_known(path)
        if known:
            return known
        try:
            before = make_stamp(path)
            digest = self._hash_folder(path) if path.is_dir() else _hash_file(path)
            if make_stamp(path) == before:
                self._write_hash(before, digest)
        except OSError as error:
            raise ModelBroken(
                f"{path.name} cannot be read.", hint="Check that it is still there, then refresh."
            ) from error
        return digest

    def _hash_folder(self, path: Path) -> str:
        files = sorted(path.rglob("*.safetensors"))
        parts = "".join(f"{file.relative_to(path).as_posix()}:{_hash_file(file)}\n" for file in files)
        return hashlib.sha256(parts.encode()).hexdigest()

    def _read_hash(self, path: Path) -> str:
        try:
            key = make_stamp(path)
            if not self._file.exists():
                return ""
            with closing(self._open_database()) as database:
                row = database.execute(
                    "SELECT sha256 FROM hashes WHERE path=? AND size=? AND changed=?", key
                ).fetchone()
        except (sqlite3.Error, OSError, UnicodeError):  # a path that is no text
            return ""
        return row[0] if row else ""

    def _write_hash(self, key: tuple[str, int, int], digest: str) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, closing(self._open_database()) as database, database:
                database.execute(
                    "REPLACE INTO hashes (path, size, changed, sha256) VALUES (?, ?, ?, ?)", (*key, digest)
                )
        except (sqlite3.Error, OSError, UnicodeError):
            return

    def _open_database(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file, timeout=5)
        database.execute(
            "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, sha256 TEXT)"
        )
        return database


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()

"""Looking through a folder of another program: what is new, changed, moved or gone since the last time.

Nothing is written there. Size and time of change decide whether a file is read again; a digest of its size, beginning
and end tells one that was moved from a new one, so that it keeps its tags.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.lora_tags import list_tag_names
from studio.library.asset_rows import NewRow, count_facets, insert_row, write_words
from studio.library.database import Database
from studio.library.index_text import fold_name
from studio.library.invokeai_boards import InvokeAIBoards, read_boards
from studio.library.schema import DONE, MISSING

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif"})
_SKIPPED_FOLDERS = frozenset({"thumbnails", "__pycache__", "node_modules"})
_CHUNK = 100  # files that are read before they are written
_DIGEST_BYTES = 65_536  # of the beginning and of the end
_MAX_COPIES = 100  # files of one content in a library

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ForeignImage:
    """What the head of a foreign image file tells. `request` is its recipe as JSON text."""

    width: int
    height: int
    program: str = ""
    prompt: str = ""
    negative: str = ""
    model: str = ""
    seed: int = 0
    task: str = ""
    loras: tuple[str, ...] = ()
    request: str = "{}"
    infotext: str = ""


@dataclass
class Progress:
    """How far a scan is: files `found` so far, of which `done` were looked at."""

    state: str = "waiting"  # waiting, scanning, watching, cancelled, offline, failed
    found: int = 0
    done: int = 0
    error: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """A file in the folder by its path below it, with "/"."""

    path: str
    bytes: int
    modified: float


class FolderScan:
    """One look through one folder, for one user."""

    def __init__(
        self,
        database: Database,
        folder: sqlite3.Row,
        read: Callable[[Path], ForeignImage],
        progress: Progress,
    ) -> None:
        """`folder` is a row of `folders`; `read` raises StudioError for what is no image."""
        self._database = database
        self._id, self._user, self._root = folder["id"], folder["user"], Path(folder["path"])
        self._read = read
        self._progress = progress
        self._programs: dict[str, int] = {}

    def run(self) -> list[str]:
        """Bring the index up to date with the folder; returns the ids of what is new in it.

        Raises:
            OSError: the folder cannot be read, and nothing was changed. StorageFailed: the index cannot be written.
        """
        os.listdir(self._root)  # raises when a disk is not there, which must not look like an empty folder
        known = {
            row["path"]: row
            for row in self._database.rows(
                "SELECT seq, path, bytes, modified, state FROM assets WHERE folder = ?", (self._id,)
            )
        }
        fresh: list[FoundFile] = []
        back: list[int] = []
        seen: set[str] = set()
        boards = read_boards(self._root)
        for file in self._walk(boards):
            seen.add(file.path)
            row = known.get(file.path)
            if row is None or (row["bytes"], row["modified"]) != (file.bytes, file.modified):
                fresh.append(file)
            else:
                self._progress.done += 1
                if row["state"] == MISSING:
                    back.append(row["seq"])
        if self._progress.cancelled.is_set():
            return []
        gone = [row["seq"] for path, row in known.items() if path not in seen and row["state"] == DONE]
        self._database.write_each(gone, hide_asset)
        self._database.write_each(back, _show)
        return self._take_in(sorted(fresh, key=lambda file: file.modified), known, boards)

    @property
    def program(self) -> str:
        """The program that wrote most of what was read."""
        return max(self._programs, key=lambda name: self._programs[name], default="")

    def _walk(self, boards: InvokeAIBoards) -> Iterator[FoundFile]:
        """The image files; links are not followed, and what has no name in UTF-8 is left out."""
        for place, folders, names in os.walk(self._root):
            folders[:] = sorted(name for name in folders if name[0] != "." and name.lower() not in _SKIPPED_FOLDERS)
            if self._progress.cancelled.is_set():
                return
            for name in names:
                if os.path.splitext(name)[1].lower() not in ENDINGS or name[0] == "." or name in boards.intermediate:
                    continue
                path = os.path.join(place, name)
                try:
                    path.encode()
                    about = os.lstat(path)
                except (OSError, UnicodeEncodeError):
                    continue
                if about.st_size and (about.st_mode & 0o170000) == 0o100000:
                    self._progress.found += 1
                    relative = Path(path).relative_to(self._root).as_posix()
                    yield FoundFile(path=relative, bytes=about.st_size, modified=about.st_mtime)

    def _take_in(self, files: Sequence[FoundFile], known: dict[str, sqlite3.Row], boards: InvokeAIBoards) -> list[str]:
        added: list[str] = []

        def take(connection: sqlite3.Connection, one: tuple[FoundFile, str, ForeignImage]) -> None:
            file, digest, image = one
            row = known.get(file.path)
            if row is not None:
                self._replace(connection, row["seq"], file, digest, image)
            elif not self._find_moved(connection, file, digest):
                asset_id = self._add(connection, file, digest, image, boards)
                added.extend([asset_id] if asset_id else [])

        for begin in range(0, len(files), _CHUNK):
            if self._progress.cancelled.is_set():
                break
            chunk = files[begin : begin + _CHUNK]
            read = [(file, *found) for file in chunk if (found := self._read_file(file)) is not None]
            self._database.write_each(read, take)
            self._progress.done += len(chunk)
        return added

    def _read_file(self, file: FoundFile) -> tuple[str, ForeignImage] | None:
        path = self._root / file.path
        try:
            digest = compute_digest(path, file.bytes)
            return digest, self._read(path)
        except (StudioError, OSError) as error:
            _log.debug("%s is not imported: %r", path.name, error)
            return None

    def _add(
        self, connection: sqlite3.Connection, file: FoundFile, digest: str, image: ForeignImage, boards: InvokeAIBoards
    ) -> str:
        """List a new file; returns its id, which follows from user and content, or "" when it cannot be listed."""
        base = "i" + hashlib.blake2s(f"{self._user}\0{digest}".encode(), digest_size=8).hexdigest()
        name = file.path.rsplit("/", 1)[-1]
        for copy in range(1, _MAX_COPIES):
            asset_id = base if copy == 1 else f"{base}-{copy}"
            columns = {
                **_make_columns(file, digest, image),
                "id": asset_id,
                "user": self._user,
                "state": DONE,
                "folder": self._id,
                "path": file.path,
                "favourite": int(name in boards.starred),
            }
            seq = insert_row(connection, _make_row(columns, file.modified, image), ignore_taken=True)
            if seq is None:
                continue
            write_words(connection, seq)
            count_facets(connection, seq, 1)
            self._programs[image.program] = self._programs.get(image.program, 0) + 1
            if name in boards.boards:
                _add_to_board(connection, seq, boards.boards[name], self._user)
            return asset_id
        return ""

    def _replace(
        self, connection: sqlite3.Connection, seq: int, file: FoundFile, digest: str, image: ForeignImage
    ) -> None:
        """A file that was overwritten: what it tells is read anew, what the user noted stays."""
        old = connection.execute("SELECT state FROM assets WHERE seq = ?", (seq,)).fetchone()
        if old["state"] == DONE:
            count_facets(connection, seq, -1)
        columns = _make_columns(file, digest, image)
        connection.execute(
            f"UPDATE assets SET {', '.join(f'{name} = ?' for name in columns)} WHERE seq = ?", (*columns.values(), seq)
        )
        connection.execute(
            "UPDATE recipes SET prompt = ?, negative = ?, request = ?, infotext = ? WHERE seq = ?",
            (image.prompt, image.negative, image.request, image.infotext, seq),
        )
        for table in ("asset_loras", "hashes", "vectors"):
            connection.execute(f"DELETE FROM {table} WHERE seq = ?", (seq,))
        connection.executemany(
            "INSERT OR IGNORE INTO asset_loras (seq, name) VALUES (?, ?)",
            [(seq, name) for name in (*image.loras, *list_tag_names(image.prompt))],
        )
        if old["state"] == MISSING:
            connection.execute("UPDATE assets SET state = ? WHERE seq = ?", (DONE, seq))
        if old["state"] in (DONE, MISSING):
            write_words(connection, seq)
            count_facets(connection, seq, 1)

    def _find_moved(self, connection: sqlite3.Connection, file: FoundFile, digest: str) -> bool:
        """Whether the file is one that was elsewhere before; then it is shown at its new place."""
        row = connection.execute(
            f"SELECT seq FROM assets WHERE state = '{MISSING}' AND user = ? AND digest = ? AND bytes = ? LIMIT 1",
            (self._user, digest, file.bytes),
        ).fetchone()
        if row is None:
            return False
        connection.execute(
            "UPDATE assets SET folder = ?, path = ?, modified = ? WHERE seq = ?",
            (self._id, file.path, file.modified, row["seq"]),
        )
        _show(connection, row["seq"])
        return True


def compute_digest(path: Path, size: int) -> str:
    """A digest of a file's size, beginning and end, which tells apart what programs write and takes no time."""
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(_DIGEST_BYTES))
        if size > 2 * _DIGEST_BYTES:
            file.seek(-_DIGEST_BYTES, os.SEEK_END)
        digest.update(file.read(_DIGEST_BYTES))
    return digest.hexdigest()


def hide_asset(connection: sqlite3.Connection, seq: int) -> None:
    """Take an asset whose file is gone out of lists and numbers; what was noted of it stays."""
    count_facets(connection, seq, -1)
    connection.execute("DELETE FROM texts WHERE seq = ?", (seq,))
    connection.execute("UPDATE assets SET state = ? WHERE seq = ?", (MISSING, seq))


def _show(connection: sqlite3.Connection, seq: int) -> None:
    connection.execute("UPDATE assets SET state = ? WHERE seq = ?", (DONE, seq))
    write_words(connection, seq)
    count_facets(connection, seq, 1)


def _make_columns(file: FoundFile, digest: str, image: ForeignImage) -> dict[str, object]:
    return {
        "digest": digest,
        "bytes": file.bytes,
        "modified": file.modified,
        "width": image.width,
        "height": image.height,
        "seed": image.seed,
        "model": image.model,
        "task": image.task,
        "source": image.program or "Imported",
    }


def _make_row(columns: dict[str, object], created: float, image: ForeignImage) -> NewRow:
    return NewRow(
        columns=columns,
        created=created,
        prompt=image.prompt,
        negative=image.negative,
        request=image.request,
        infotext=image.infotext,
        loras=image.loras,
    )


def _add_to_board(connection: sqlite3.Connection, seq: int, board: str, user: str) -> None:
    """Put an asset into the collection of that name, which is made when there is none; its id follows from its name."""
    fold = fold_name(board)
    row = connection.execute("SELECT id, query FROM collections WHERE user = ? AND fold = ?", (user, fold)).fetchone()
    if row is None:
        collection = hashlib.blake2s(f"{user}\0{fold}".encode(), digest_size=8).hexdigest()
        connection.execute(
            "INSERT OR IGNORE INTO collections (id, user, name, fold, created) VALUES (?, ?, ?, ?, ?)",
            (collection, user, " ".join(board.split()) or "Board", fold, time.time()),
        )
    elif row["query"] is not None:
        return
    else:
        collection = row["id"]
    connection.execute("INSERT OR IGNORE INTO collection_items (collection, seq) VALUES (?, ?)", (collection, seq))

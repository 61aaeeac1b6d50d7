"""The trash: files are moved below the outputs folder and back, and removed for good after some days.

The database learns of a move before it begins and once more when it is over, so that after a crash at any moment
`settle` sees from where the file is what became of it. What other programs own is never moved: an imported asset is
only hidden.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from studio.core.durable_files import make_folder, publish, sync_folder, translate_os_errors
from studio.core.errors import StorageFailed
from studio.library.asset_rows import count_facets, delete_rows, write_words
from studio.library.database import Database
from studio.library.schema import DONE, RESTORING, SKIPPED, TRASHED, TRASHING

TRASH_FOLDER = ".trash"
SETTLE_AGE = 30.0  # seconds: a chunk of moves that takes longer has lost its process
_MAX_TRIES = 10_000
_SEPARATOR = "~"
_MAX_NAME_BYTES = 140  # of a file name; encrypted disks take no more
_CHUNK = 100  # assets that are moved between two transactions

_log = logging.getLogger(__name__)
_OnMoving = Callable[[sqlite3.Connection, Sequence[sqlite3.Row]], None]


def _ignore(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> None:
    pass


def _note_nothing(user: str, ids: Sequence[str]) -> None:
    pass


class Trash:
    """Moves assets of one user at a time. Thread-safe; other processes may move files too."""

    def __init__(
        self,
        database: Database,
        root: Path,
        remove_thumbnail: Callable[[str], None],
        note_removed: Callable[[str, Sequence[str]], None] = _note_nothing,
    ) -> None:
        """`remove_thumbnail` is told the id of an asset that was removed for good, `note_removed` user and ids inside
        the transaction that removes them."""
        self._database = database
        self._root = root
        self._remove_thumbnail = remove_thumbnail
        self._note_removed = note_removed

    def trash(self, seqs: Sequence[int], user: str, on_moving: _OnMoving = _ignore) -> int:
        """Move assets to the trash; returns how many were not there yet. `on_moving` is called inside the transaction
        that begins the moves, with the rows that it is about.

        Raises:
            StorageFailed: the first file that could not be moved; the others of its chunk are.
        """
        return self._move(seqs, user, on_moving, trashing=True)

    def restore(self, seqs: Sequence[int], user: str, on_moving: _OnMoving = _ignore) -> int:
        """Move assets back to where they were, or beside it where another file took the place; as `trash`."""
        return self._move(seqs, user, on_moving, trashing=False)

    def empty(self, user: str, *, before: float | None = None) -> int:
        """Remove the user's trashed assets for good, or only those trashed before that time; returns how many.

        Raises:
            StorageFailed: a file could not be removed.
        """
        removed = 0
        while True:
            rows = self._database.rows(
                "SELECT seq, id, folder, path FROM assets WHERE user = ? AND state = ? AND (? IS NULL OR trashed < ?)"
                " ORDER BY seq LIMIT ?",
                (user, TRASHED, before, before, _CHUNK),
            )
            if not rows:
                return removed
            for row in rows:
                if not row["folder"]:
                    with translate_os_errors("the trash"):
                        (self._root / row["path"]).unlink(missing_ok=True)
                self._remove_thumbnail(row["id"])
            with self._database.transaction() as connection:
                remove_for_good(connection, [row["seq"] for row in rows])
                self._note_removed(user, [row["id"] for row in rows])
            removed += len(rows)

    def purge(self, days: int) -> int:
        """Remove of all users what was trashed more than `days` ago; 0 days keep it for ever. Raises as `empty`."""
        if not days:
            return 0
        before = time.time() - days * 86_400
        users = self._database.rows(
            "SELECT DISTINCT user FROM assets WHERE state = ? AND trashed < ?", (TRASHED, before)
        )
        return sum(self.empty(row["user"], before=before) for row in users)

    def trash_old(self, days: int) -> int:
        """Move images of all users to the trash that were made more than `days` ago and are no favourites; 0 days keep
        them. Returns how many. Raises as `trash`."""
        moved = 0
        before = time.time() - days * 86_400
        while days and (
            rows := self._database.rows(
                "SELECT seq, user FROM assets WHERE state = ? AND folder = 0 AND favourite = 0 AND created < ?"
                " ORDER BY user, seq LIMIT ?",
                (DONE, before, _CHUNK),
            )
        ):
            user = rows[0]["user"]
            done = self.trash([row["seq"] for row in rows if row["user"] == user], user)
            moved += done
            if not done:
                break
        return moved

    def settle(self, min_age: float = SETTLE_AGE) -> int:
        """Bring the moves to an end that began more than `min_age` seconds ago, by a process that is dead; returns how
        many there were."""
        rows = self._database.rows(
            "SELECT seq, id, folder, path, other_path, state FROM assets WHERE state IN (?, ?) AND trashed <= ?",
            (TRASHING, RESTORING, time.time() - min_age),
        )
        for row in rows:
            end = _finish if self._is_moved(row) else _take_back
            with self._database.transaction() as connection:
                end(connection, row["seq"], trashing=row["state"] == TRASHING)
        return len(rows)

    def _is_moved(self, row: sqlite3.Row) -> bool:
        """Whether the file is at its new place. Where it is at both, a move over two disks was cut off."""
        if row["folder"]:
            return True
        old, new = self._get_places(row)
        if row["state"] == RESTORING:
            if new.is_file() and old.is_file() and old.samefile(new):
                old.unlink()
            return new.is_file() and not old.is_file()
        if not old.is_file():
            return True
        if new.is_file():
            new.unlink()
        return False

    def _get_places(self, row: sqlite3.Row) -> tuple[Path, Path]:
        """Where the file of a row comes from and where it goes."""
        path, other = self._root / row["path"], self._root / row["other_path"]
        return (other, path) if row["state"] == RESTORING else (path, other)

    def _move(self, seqs: Sequence[int], user: str, on_moving: _OnMoving, *, trashing: bool) -> int:
        moved, failure = 0, None
        for begin in range(0, len(seqs), _CHUNK):
            rows = self._begin(seqs[begin : begin + _CHUNK], user, on_moving, trashing=trashing)
            done, failed = list[int](), list[int]()
            folders: set[Path] = set()
            for row in rows:
                try:
                    if not row["folder"]:
                        self._move_file(*self._get_places(row), folders)
                    done.append(row["seq"])
                except OSError as error:
                    failed.append(row["seq"])
                    failure = failure or error
            for folder in folders:
                with contextlib.suppress(OSError):
                    sync_folder(folder)
            self._database.write_each(failed, functools.partial(_take_back, trashing=trashing))
            self._database.write_each(done, functools.partial(_finish, trashing=trashing))
            moved += len(done)
            if failure is not None:
                with translate_os_errors("the file in its new place"):
                    raise failure
        return moved

    def _begin(self, seqs: Sequence[int], user: str, on_moving: _OnMoving, *, trashing: bool) -> list[sqlite3.Row]:
        """Note where the files are about to go; returns the rows."""
        with self._database.transaction(patient=True) as connection:
            rows = connection.execute(
                "SELECT seq, assets.id, folder, assets.path, other_path FROM json_each(?) JOIN assets ON seq = value"
                " WHERE user = ? AND state = ?",
                (json.dumps(list(seqs)), user, DONE if trashing else TRASHED),
            ).fetchall()
            for row in rows:
                if trashing:
                    values = (TRASHING, row["path"], _make_trash_path(row))
                else:
                    values = (RESTORING, self._find_free_path(connection, row), row["path"])
                connection.execute(
                    "UPDATE assets SET state = ?, path = ?, other_path = ?, trashed = ? WHERE seq = ?",
                    (*values, time.time(), row["seq"]),
                )
            on_moving(connection, rows)
            numbers = json.dumps([row["seq"] for row in rows])
            return connection.execute(
                "SELECT seq, assets.id, folder, assets.path, other_path, state FROM json_each(?)"
                " JOIN assets ON seq = value",
                (numbers,),
            ).fetchall()

    def _find_free_path(self, connection: sqlite3.Connection, row: sqlite3.Row) -> str:
        """Where the asset was, or a numbered name beside it. Raises StorageFailed when all numbers are taken."""
        wanted = PurePosixPath(row["other_path"])
        if row["folder"]:
            return str(wanted)
        for number in range(1, _MAX_TRIES):
            path = wanted if number == 1 else wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
            taken = connection.execute(
                "SELECT 1 FROM assets WHERE folder = 0 AND path = ? AND seq <> ?", (str(path), row["seq"])
            ).fetchone()
            if not taken and not os.path.lexists(self._root / path):
                return str(path)
        raise StorageFailed("No free file name was found for the image.", hint="Move some files out of its folder.")

    def _move_file(self, old: Path, new: Path, folders: set[Path]) -> None:
        make_folder(new.parent, self._root)
        folders.update((old.parent, new.parent))
        if not old.is_file():
            return  # somebody deleted it by hand; what is known of it can be trashed and restored all the same
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, "the place is taken", str(new))
        try:
            os.link(old, new)  # which never takes the place of another file
        except FileExistsError:
            raise
        except OSError:
            _copy_or_rename(old, new)
        else:
            old.unlink()


def _copy_or_rename(old: Path, new: Path) -> None:
    """Move a file where hard links are refused: to another disk, or on one that has none."""
    try:
        os.rename(old, new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = new.with_name(f".{new.name}.part")
        try:
            shutil.copy2(old, part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            publish(part, new)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        old.unlink()


def _make_trash_path(row: sqlite3.Row) -> str:
    """Where the file of an asset lies in the trash: folder and name tell where it was, the id keeps two of one name
    apart."""
    if row["folder"]:
        return row["path"]
    path = PurePosixPath(row["path"])
    head, ending = f"{row['id']}{_SEPARATOR}", path.suffix
    stem = path.stem.encode()[: _MAX_NAME_BYTES - len(head) - len(ending)].decode(errors="ignore")
    return str(PurePosixPath(TRASH_FOLDER, path.parent, f"{head}{stem}{ending}"))


def find_original_path(path: PurePosixPath) -> PurePosixPath:
    """The inverse for a path below the outputs folder: where a file of the trash was."""
    return PurePosixPath(*path.parts[1:]).with_name(path.name.partition(_SEPARATOR)[2] or path.name)


def _finish(connection: sqlite3.Connection, seq: int, *, trashing: bool) -> None:
    """Note that a file is in its new place: path and other path change places, or the other one is forgotten."""
    if trashing:
        connection.execute(
            "UPDATE assets SET state = ?, path = other_path, other_path = path, trashed = ? WHERE seq = ?",
            (TRASHED, time.time(), seq),
        )
    else:
        connection.execute("UPDATE assets SET state = ?, other_path = NULL, trashed = NULL WHERE seq = ?", (DONE, seq))
    write_words(connection, seq)
    count_facets(connection, seq, -1 if trashing else 1)


def _take_back(connection: sqlite3.Connection, seq: int, *, trashing: bool) -> None:
    """Note that a file could not be moved: all is as before."""
    if trashing:
        connection.execute("UPDATE assets SET state = ?, other_path = NULL, trashed = NULL WHERE seq = ?", (DONE, seq))
    else:
        connection.execute(
            "UPDATE assets SET state = ?, path = other_path, other_path = path WHERE seq = ?", (TRASHED, seq)
        )


def mark_trashed(connection: sqlite3.Connection, seq: int, *, trashed: bool) -> None:
    """Hide or show an imported asset, whose file stays where it is, inside the caller's transaction; nothing for the
    studio's own, whose place says it."""
    state, wanted = (DONE, TRASHED) if trashed else (TRASHED, DONE)
    found = connection.execute(
        "UPDATE assets SET state = ?, trashed = ? WHERE seq = ? AND state = ? AND folder > 0 RETURNING seq",
        (wanted, time.time() if trashed else None, seq, state),
    ).fetchall()
    if found:
        write_words(connection, seq)
        count_facets(connection, seq, -1 if trashed else 1)


def remove_for_good(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Remove assets that are in the trash, inside the caller's transaction. Of a job that goes on, and of a folder that
    is looked through again, a mark stays that the image is not wanted."""
    numbers = json.dumps(list(seqs))
    kept = connection.execute(
        "SELECT seq, assets.id, job_id, user, number, folder, assets.path, created FROM json_each(?)"
        " JOIN assets ON seq = value WHERE folder > 0"
        " OR EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_id AND finished IS NULL)",
        (numbers,),
    ).fetchall()
    delete_rows(connection, seqs)
    connection.executemany(
        "INSERT INTO assets (seq, id, job_id, user, number, folder, path, created, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(row[name] for name in ("seq", "id", "job_id", "user", "number", "folder")),
                row["path"] if row["folder"] else None,
                row["created"],
                SKIPPED,
            )
            for row in kept
        ],
    )

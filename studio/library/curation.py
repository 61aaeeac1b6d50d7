"""Changing what users note of their assets, one or many at a time, undoing it, and reading it back from its log."""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.core.errors import NotFound, StudioError
from studio.library.asset_rows import NewRow, count_facets, insert_row, write_words
from studio.library.changes import Change, apply_change, undo_change
from studio.library.collections import remove_collection, write_collection
from studio.library.curation_log import CurationLog
from studio.library.database import Database
from studio.library.entries import find_seq
from studio.library.schema import DONE
from studio.library.trash import Trash, mark_trashed, remove_for_good
from studio.library.uses import count_known_parents, set_uses

CHUNK = 200  # assets that are changed in one transaction, if nobody waits to write meanwhile
_PIECE = 50  # assets between two looks whether somebody does
_INDEXED_CHUNK, _INDEXED_PIECE = 50, 2  # of assets that are written into the full-text index anew, which takes longer
KEPT_STEPS = 20

_log = logging.getLogger(__name__)


class Curation:
    """Changes assets of one user at a time. Thread-safe."""

    def __init__(self, database: Database, log: CurationLog, trash: Trash) -> None:
        self._database = database
        self._log = log
        self._trash = trash

    def change(self, asset_id: str, change: Change, user: str, *, is_step: bool = True) -> None:
        """Change one asset, as a step that can be undone unless `is_step` is False.

        Raises:
            NotFound: there is none of that id, or it is another user's; or no such collection.
            InvalidRequest: a value that is not possible. StorageFailed: it could not be written.
        """
        with self._database.transaction() as connection:
            seq = find_seq(connection, asset_id, user)
            before = apply_change(connection, [seq], change, user)
            if before and is_step:
                _keep_before(connection, _add_step(connection, secrets.token_hex(8), user), before)
            if before:
                self._log.append(user, [(change.to_json(), [asset_id])])
        self._log.sync()

    def change_many(self, chunks: Iterable[Sequence[int]], change: Change, user: str) -> tuple[int, str]:
        """Change the assets of these row numbers, which are all the user's; returns how many are different now, and the
        token that undoes the step.

        Raises:
            NotFound, InvalidRequest, StorageFailed: as `change`. What was changed before that can be undone as the last
                step.
        """
        token = secrets.token_hex(8)
        with self._database.transaction() as connection:
            step = _add_step(connection, token, user)
        notes = change.to_json()
        indexed = notes.keys() & {"title", "note", "tags", "add_tags", "remove_tags"}
        chunk, piece = (_INDEXED_CHUNK, _INDEXED_PIECE) if indexed else (CHUNK, _PIECE)
        changed = 0
        for seqs in chunks:
            noted, at = 0, 0
            while notes and at < len(seqs):
                looked, different = self._change_chunk(seqs[at : at + chunk], change, user, step, piece)
                at, noted = at + looked, noted + different
            moved = self._move_chunk(seqs, change, user, step)
            changed += noted if notes else moved
        with self._database.transaction() as connection:  # which brings all of them to the disk
            connection.execute("UPDATE undo_steps SET created = ? WHERE id = ?", (time.time(), step))
        self._log.sync()
        return changed, token

    def undo(self, user: str, token: str = "") -> int:
        """Take the step of that token back, or the last one; returns how many assets are as before again.

        Raises:
            NotFound: there is no such step, or none at all.
        """
        rows = self._database.rows(
            "SELECT id FROM undo_steps WHERE user = ? AND (? = '' OR token = ?) ORDER BY id DESC LIMIT 1",
            (user, token, token),
        )
        if not rows:
            raise NotFound("There is nothing to undo.", hint=f"The last {KEPT_STEPS} steps can be undone, each once.")
        step, restored = rows[0]["id"], 0
        while items := self._database.rows(
            "SELECT seq, before FROM undo_items WHERE step = ? LIMIT ?", (step, _INDEXED_CHUNK)
        ):
            restored += self._undo_items(items, user, step)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM undo_steps WHERE id = ?", (step,))
        self._log.sync()
        return restored

    def replay(self, only: Sequence[str] = ()) -> int:
        """Apply the log to an index that was made anew, or what it says of the assets `only`; returns how many lines it
        has."""
        chosen = frozenset(only)
        count = 0
        for user, change, ids in self._log.read():
            count += 1
            try:
                if not chosen:
                    self._replay_line(user, change, ids)
                elif wanted := [one for one in ids if one in chosen]:
                    self._replay_line(user, change, wanted)
            except (StudioError, TypeError, KeyError, ValueError, AttributeError, sqlite3.Error) as error:
                _log.warning("a noted change is left out: %r", error)
        if not chosen:
            with self._database.transaction() as connection:
                count_known_parents(connection)
        return count

    def _change_chunk(self, seqs: Sequence[int], change: Change, user: str, step: int, piece: int) -> tuple[int, int]:
        """Change the first of these assets, a piece at a time until somebody else waits to write; returns how many were
        looked at, and how many of them are different now."""
        looked, before = 0, dict[int, dict[str, Any]]()
        with self._database.transaction(patient=True, synced=False) as connection:
            for some in self._database.take_pieces(seqs, piece):
                before |= apply_change(connection, some, change, user)
                looked += len(some)
            if before:
                _keep_before(connection, step, before)
                self._log.append(user, [(change.to_json(), _list_ids(connection, before))])
        return looked, len(before)

    def _move_chunk(self, seqs: Sequence[int], change: Change, user: str, step: int) -> int:
        if not (change.trash or change.restore):
            return 0

        def note(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> None:
            _keep_before(connection, step, {row["seq"]: {"trashed": change.restore} for row in rows})
            if rows:
                self._log.append(user, [({"trashed": change.trash}, [row["id"] for row in rows])])

        return (self._trash.trash if change.trash else self._trash.restore)(seqs, user, note)

    def _undo_items(self, items: Sequence[sqlite3.Row], user: str, step: int) -> int:
        """Give assets back what they had before; returns for how many that is done, which may not be all."""
        befores = {item["seq"]: json.loads(item["before"]) for item in items}
        for trashed, move in ((False, self._trash.restore), (True, self._trash.trash)):
            seqs = [seq for seq, before in befores.items() if before.get("trashed") is trashed]

            def note(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row], trashed: bool = trashed) -> None:
                if rows:
                    self._log.append(user, [({"trashed": trashed}, [row["id"] for row in rows])])

            move(seqs, user, note)
        done: list[int] = []
        with self._database.transaction(patient=True, synced=False) as connection:
            lines: list[tuple[Mapping[str, Any], Sequence[str]]] = []
            for some in self._database.take_pieces(list(befores), _INDEXED_PIECE):
                for seq in some:
                    notes = {name: value for name, value in befores[seq].items() if name != "trashed"}
                    ids = _list_ids(connection, [seq]) if notes else []
                    if ids:
                        lines.extend((undone, ids) for undone in undo_change(connection, seq, notes, user))
                done.extend(some)
            if lines:
                self._log.append(user, lines)
            connection.executemany("DELETE FROM undo_items WHERE step = ? AND seq = ?", [(step, seq) for seq in done])
        return len(done)

    def _replay_line(self, user: str, change: Mapping[str, Any], ids: Sequence[str]) -> None:
        with self._database.transaction() as connection:
            if "collection" in change:
                write_collection(connection, change["collection"], user)
            elif "delete_collection" in change:
                remove_collection(connection, str(change["delete_collection"]), user)
            elif "media" in change:
                if (self._log.root / change["media"]["path"]).is_file():
                    insert_media(connection, ids[0], user, change)
            elif "removed" in change:
                seqs = _find_seqs(connection, ids, user)
                for seq in seqs:
                    mark_trashed(connection, seq, trashed=True)
                remove_for_good(connection, _select_imported(connection, seqs))
            elif "uses" in change:
                for seq in _find_seqs(connection, ids, user):
                    set_uses(connection, seq, change["uses"])
            elif "trashed" in change:
                for seq in _find_seqs(connection, ids, user):
                    mark_trashed(connection, seq, trashed=bool(change["trashed"]))
            else:
                apply_change(connection, _find_seqs(connection, ids, user), Change.from_json(change), user)


def insert_media(connection: sqlite3.Connection, asset_id: str, user: str, note: Mapping[str, Any]) -> int | None:
    """List an audio or video file as the log has it: the columns under "media", when, and what it was made from.
    Returns its row number, None for one that is listed already."""
    kept = {name: note["media"][name] for name in ("kind", "path", "bytes", "source")}
    row = NewRow(
        columns={"id": asset_id, "user": user, "state": DONE, **kept},
        created=float(note["created"]),
        parents=tuple(map(str, note["parents"])),
    )
    seq = insert_row(connection, row, ignore_taken=True)
    if seq is not None:
        write_words(connection, seq)
        count_facets(connection, seq, 1)
    return seq


def _add_step(connection: sqlite3.Connection, token: str, user: str) -> int:
    """A new step that can be undone; the oldest of the user's give way."""
    connection.execute("INSERT INTO undo_steps (token, user, created) VALUES (?, ?, ?)", (token, user, time.time()))
    step = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
    old = connection.execute(
        "SELECT id FROM undo_steps WHERE user = ? ORDER BY id DESC LIMIT -1 OFFSET ?", (user, KEPT_STEPS)
    ).fetchall()
    for row in old:
        connection.execute("DELETE FROM undo_items WHERE step = ?", (row["id"],))
        connection.execute("DELETE FROM undo_steps WHERE id = ?", (row["id"],))
    return step


def _keep_before(connection: sqlite3.Connection, step: int, before: Mapping[int, Mapping[str, Any]]) -> None:
    connection.executemany(
        "INSERT INTO undo_items (step, seq, before) VALUES (?, ?, ?) ON CONFLICT (step, seq) DO UPDATE SET"
        " before = json_patch(before, excluded.before)",
        [(step, seq, json.dumps(was)) for seq, was in before.items()],
    )


def _list_ids(connection: sqlite3.Connection, seqs: Iterable[int]) -> list[str]:
    rows = connection.execute(
        "SELECT assets.id FROM json_each(?) JOIN assets ON seq = value ORDER BY json_each.key",
        (json.dumps(list(seqs)),),
    )
    return [row["id"] for row in rows]


def _find_seqs(connection: sqlite3.Connection, ids: Sequence[str], user: str) -> list[int]:
    rows = connection.execute(
        "SELECT seq FROM json_each(?) JOIN assets ON assets.id = value WHERE user = ?", (json.dumps(list(ids)), user)
    )
    return [row["seq"] for row in rows]


def _select_imported(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[int]:
    """Those of the assets whose files are another program's, and still there after they were removed here."""
    rows = connection.execute(
        "SELECT seq FROM json_each(?) JOIN assets ON seq = value WHERE folder > 0", (json.dumps(list(seqs)),)
    )
    return [row["seq"] for row in rows]

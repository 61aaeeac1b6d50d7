"""What assets were used for: counted, so that those never used can be found."""

from __future__ import annotations

import sqlite3
import time
from enum import StrEnum

from studio.library.database import Database
from studio.library.entries import find_seq


class Use(StrEnum):
    """What an asset can be used for."""

    SENT = "sent"  # to a form of the page
    DOWNLOADED = "downloaded"
    EXPORTED = "exported"  # for a platform, or in a zip
    PARENT = "parent"  # another asset was made from it
    REUSED = "reused"  # its recipe was


class Uses:
    """Counts the uses of one user's assets at a time. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, asset_id: str, use: Use, user: str) -> int:
        """Count one use; returns how often the asset was used by now.

        Raises:
            NotFound: there is none of that id, or it is another user's. StorageFailed: it could not be written.
        """
        with self._database.transaction() as connection:
            return count_use(connection, find_seq(connection, asset_id, user), use)


def count_use(connection: sqlite3.Connection, seq: int, use: Use) -> int:
    """Count a use inside the caller's transaction; returns how often the asset was used by now."""
    connection.execute(
        "INSERT INTO uses (seq, use, count, last) VALUES (?, ?, 1, ?)"
        " ON CONFLICT (seq, use) DO UPDATE SET count = count + 1, last = excluded.last",
        (seq, use.value, time.time()),
    )
    return connection.execute("UPDATE assets SET uses = uses + 1 WHERE seq = ? RETURNING uses", (seq,)).fetchone()[0]


def count_parents(connection: sqlite3.Connection, seq: int, user: str) -> None:
    """Count for the parents of a new asset that something was made from them."""
    parents = connection.execute(
        "SELECT assets.seq FROM asset_parents JOIN assets ON assets.id = asset_parents.parent"
        " WHERE asset_parents.seq = ? AND user = ?",
        (seq, user),
    ).fetchall()
    for parent in parents:
        count_use(connection, parent["seq"], Use.PARENT)

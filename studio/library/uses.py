"""What assets were used for: counted, so that those never used can be found."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from enum import StrEnum

from studio.library.curation_log import CurationLog
from studio.library.database import Database
from studio.library.entries import find_seq

_MAX_COUNT = 1_000_000_000


class Use(StrEnum):
    """What an asset can be used for."""

    SENT = "sent"  # to a form of the page
    DOWNLOADED = "downloaded"
    EXPORTED = "exported"  # for a platform, or in a zip
    PARENT = "parent"  # another asset was made from it
    REUSED = "reused"  # its recipe was


class Uses:
    """Counts the uses of one user's assets at a time. Thread-safe."""

    def __init__(self, database: Database, log: CurationLog) -> None:
        self._database = database
        self._log = log

    def record(self, asset_id: str, use: Use, user: str) -> int:
        """Count one use; returns how often the asset was used by now.

        Raises:
            NotFound: there is none of that id, or it is another user's. StorageFailed: it could not be written.
        """
        with self._database.transaction() as connection:
            seq = find_seq(connection, asset_id, user)
            return _count_use(connection, seq, use, user, self._log)


def count_parents(connection: sqlite3.Connection, seq: int, user: str, log: CurationLog) -> None:
    """Count for the parents of a new asset that something was made from them, inside the caller's transaction."""
    parents = connection.execute(
        "SELECT assets.seq FROM asset_parents JOIN assets ON assets.id = asset_parents.parent"
        " WHERE asset_parents.seq = ? AND user = ?",
        (seq, user),
    ).fetchall()
    for parent in parents:
        _count_use(connection, parent["seq"], Use.PARENT, user, log)


def set_uses(connection: sqlite3.Connection, seq: int, counts: Mapping[str, object]) -> None:
    """Give an asset the numbers that the log has, inside the caller's transaction.

    Raises:
        ValueError, TypeError: no use that is counted, or no number.
    """
    for use, count in counts.items():
        connection.execute(
            "INSERT INTO uses (seq, use, count, last) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (seq, use) DO UPDATE SET count = excluded.count",
            (seq, Use(use).value, min(max(int(str(count)), 0), _MAX_COUNT), time.time()),
        )
    _add_up(connection, seq)


def count_known_parents(connection: sqlite3.Connection) -> None:
    """Count in an index that was made anew what is known to be made from each asset, where the log has no higher
    number; inside the caller's transaction."""
    rows = connection.execute(
        "INSERT INTO uses (seq, use, count, last)"
        " SELECT assets.seq, ?, count(*), ? FROM asset_parents JOIN assets ON assets.id = asset_parents.parent"
        " JOIN assets AS child ON child.seq = asset_parents.seq AND child.user = assets.user"
        " GROUP BY assets.seq"
        " ON CONFLICT (seq, use) DO UPDATE SET count = max(count, excluded.count) RETURNING seq",
        (Use.PARENT.value, time.time()),
    ).fetchall()
    for row in rows:
        _add_up(connection, row["seq"])


def _count_use(connection: sqlite3.Connection, seq: int, use: Use, user: str, log: CurationLog) -> int:
    """Count a use; returns how often the asset was used by now."""
    count = connection.execute(
        "INSERT INTO uses (seq, use, count, last) VALUES (?, ?, 1, ?)"
        " ON CONFLICT (seq, use) DO UPDATE SET count = count + 1, last = excluded.last RETURNING count",
        (seq, use.value, time.time()),
    ).fetchone()["count"]
    row = _add_up(connection, seq)
    log.append(user, [({"uses": {use.value: count}}, [row["id"]])])
    return row["uses"]


def _add_up(connection: sqlite3.Connection, seq: int) -> sqlite3.Row:
    return connection.execute(
        "UPDATE assets SET uses = (SELECT coalesce(sum(count), 0) FROM uses WHERE uses.seq = assets.seq) WHERE seq = ?"
        " RETURNING id, uses",
        (seq,),
    ).fetchone()

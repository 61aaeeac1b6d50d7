"""Named collections of assets, and saved searches, which find theirs anew each time."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.text_checks import check_name
from studio.library.curation_log import CurationLog
from studio.library.database import Database
from studio.library.index_text import fold_name
from studio.library.query import parse_query
from studio.library.schema import DONE
from studio.library.search import Search

MAX_NAME_LENGTH = 100  # characters
MAX_COLLECTIONS = 1_000  # of one user


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A collection, or a saved search where there is a `query`. `count` is how many assets it shows."""

    id: str
    name: str
    count: int
    query: str | None = None


class Collections:
    """The collections of all users. Thread-safe."""

    def __init__(self, database: Database, log: CurationLog, search: Search) -> None:
        self._database = database
        self._log = log
        self._search = search

    def list_all(self, user: str) -> list[Collection]:
        """The user's collections by name."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT id, name, query, (SELECT count(*) FROM collection_items JOIN assets USING (seq)"
                " WHERE collection = collections.id AND state = ?) AS count FROM collections WHERE user = ?"
                " ORDER BY fold",
                (DONE, user),
            ).fetchall()
        return [self._build(row, user) for row in rows]

    def create(self, name: str, user: str, query: str | None = None) -> Collection:
        """Make a collection, or with `query` a saved search.

        Raises:
            InvalidRequest: the name is taken or impossible, or the query cannot be read.
        """
        collection = secrets.token_hex(8)
        with self._database.transaction() as connection:
            count = connection.execute("SELECT count(*) FROM collections WHERE user = ?", (user,)).fetchone()[0]
            if count >= MAX_COLLECTIONS:
                raise InvalidRequest(
                    f"There are {count} collections already; the limit is {MAX_COLLECTIONS}.", hint="Delete one first."
                )
            values = {"id": collection, "name": _clean(name), "query": _check_query(query)}
            write_collection(connection, values, user)
            self._log.append(user, [({"collection": values}, [])])
        self._log.sync()
        return self.get(collection, user)

    def change(self, collection: str, user: str, *, name: str | None = None, query: str | None = None) -> Collection:
        """Rename a collection, or give a saved search another query; raises NotFound too, else as `create`."""
        with self._database.transaction() as connection:
            row = _find(connection, collection, user)
            if query is not None and row["query"] is None:
                raise InvalidRequest("This collection is not a saved search.", hint="Save the search under a new name.")
            values = {
                "id": collection,
                "name": row["name"] if name is None else _clean(name),
                "query": row["query"] if query is None else _check_query(query),
            }
            write_collection(connection, values, user)
            self._log.append(user, [({"collection": values}, [])])
        self._log.sync()
        return self.get(collection, user)

    def delete(self, collection: str, user: str) -> None:
        """Delete a collection; its assets stay. Raises NotFound."""
        with self._database.transaction() as connection:
            _find(connection, collection, user)
            remove_collection(connection, collection, user)
            self._log.append(user, [({"delete_collection": collection}, [])])
        self._log.sync()

    def get(self, collection: str, user: str) -> Collection:
        """One collection; raises NotFound for another user's."""
        with self._database.read() as connection:
            row = _find(connection, collection, user)
        return self._build(row, user)

    def _build(self, row: sqlite3.Row, user: str) -> Collection:
        count = row["count"]
        if row["query"] is not None:
            try:
                count = self._search.find(row["query"], user, limit=1).total
            except StudioError:  # of a filter that this version does not know, or one that takes too long
                count = 0
        return Collection(id=row["id"], name=row["name"], count=count, query=row["query"])


def write_collection(connection: sqlite3.Connection, values: Mapping[str, Any], user: str) -> None:
    """Make or change a collection inside the caller's transaction; raises InvalidRequest when its name is taken."""
    fold = fold_name(values["name"])
    taken = connection.execute(
        "SELECT 1 FROM collections WHERE user = ? AND fold = ? AND id <> ?", (user, fold, values["id"])
    ).fetchone()
    if taken:
        raise InvalidRequest(f"There is a collection “{values['name']}” already.", hint="Choose another name.")
    connection.execute(
        "INSERT INTO collections (id, user, name, fold, query, created) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name, fold = excluded.fold, query = excluded.query"
        " WHERE user = excluded.user",
        (values["id"], user, values["name"], fold, values["query"], time.time()),
    )


def remove_collection(connection: sqlite3.Connection, collection: str, user: str) -> None:
    """Delete a user's collection inside the caller's transaction."""
    if connection.execute("DELETE FROM collections WHERE id = ? AND user = ?", (collection, user)).rowcount:
        connection.execute("DELETE FROM collection_items WHERE collection = ?", (collection,))


def _find(connection: sqlite3.Connection, collection: str, user: str) -> sqlite3.Row:
    row = connection.execute(
        "SELECT id, name, query, (SELECT count(*) FROM collection_items JOIN assets USING (seq)"
        " WHERE collection = collections.id AND state = ?) AS count FROM collections WHERE id = ? AND user = ?",
        (DONE, collection, user),
    ).fetchone()
    if row is None:
        raise NotFound("Collection not found.", hint="It may have been deleted.")
    return row


def _clean(name: str) -> str:
    cleaned = " ".join(name.replace('"', "'").split())
    if not cleaned or len(cleaned) > MAX_NAME_LENGTH:
        raise InvalidRequest(
            f"The name has {len(cleaned)} characters.", hint=f"Use 1 to {MAX_NAME_LENGTH} characters for a name."
        )
    return check_name(cleaned, "The name")


def _check_query(query: str | None) -> str | None:
    if query is not None:
        parse_query(query)
    return query

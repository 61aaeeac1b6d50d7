"""All that the database and the outputs folder hold of one user: read for an export, or removed for good."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from studio.core.durable_files import translate_os_errors
from studio.library.asset_rows import delete_rows
from studio.library.database import Database

ANONYMOUS = "deleted user"  # whose lines in the ledger are
_CHUNK = 200  # rows between two transactions
# Folders of other programs belong to the settings, assets and inputs have files and are removed with these, and what
# was paid stays, without a name.
_KEPT_TABLES = frozenset({"folders", "assets", "inputs", "ledger", "held"})


class UserRows:
    """Reads and removes. Thread-safe; only unfinished jobs must be ended before `remove`."""

    def __init__(self, database: Database, root: Path, inputs: Path, remove_thumbnail: Callable[[str], None]) -> None:
        """`root` is the outputs folder, `inputs` that of kept images; `remove_thumbnail` is told the id of each asset
        that is removed."""
        self._database = database
        self._root = root
        self._inputs = inputs
        self._remove_thumbnail = remove_thumbnail

    def iterate_rows(self, user: str) -> Iterator[dict[str, Any]]:
        """Every row that names `user`, as {"table": …, column: value}; of assets with their recipes and tags."""
        for table in self._list_tables():
            last = -1
            while rows := self._database.rows(
                f"SELECT rowid AS _place, * FROM {table} WHERE user = ? AND rowid > ? ORDER BY rowid LIMIT ?"
                if self._has_rowid(table)
                else f"SELECT * FROM {table} WHERE user = ? AND ? < 0 LIMIT ? * 1000",
                (user, last, _CHUNK),
            ):
                for row in rows:
                    yield {"table": table} | self._describe(table, row)
                last = rows[-1]["_place"] if "_place" in rows[-1].keys() else 0  # noqa: SIM118 - a row has no `in`

    def iterate_files(self, user: str) -> Iterator[tuple[Path, str]]:
        """(file, name in a zip) of the user's own images, those in the trash too, and of the images they brought."""
        for row in self._iterate_assets(user):
            if row["path"] and not row["folder"]:
                yield self._root / row["path"], f"images/{row['path'].removeprefix('users/')}"
        for row in self._database.rows("SELECT hash FROM inputs WHERE user = ?", (user,)):
            yield self._get_input(row["hash"]), f"inputs/{row['hash']}.png"

    def remove(self, user: str) -> dict[str, int]:
        """Remove everything for good but the ledger, whose lines lose the name; returns how many of what.

        Raises:
            StorageFailed: a file or the database could not be changed; the same call may be made again.
        """
        counts = {"images": self._remove_assets(user), "inputs": self._remove_inputs(user)}
        with self._database.transaction() as connection:
            counts["jobs"] = connection.execute("SELECT COUNT(*) FROM jobs WHERE user = ?", (user,)).fetchone()[0]
            own = "(SELECT id FROM {} WHERE user = ?)"
            connection.execute(f"DELETE FROM collection_items WHERE collection IN {own.format('collections')}", (user,))
            connection.execute(f"DELETE FROM undo_items WHERE step IN {own.format('undo_steps')}", (user,))
            for table in self._list_tables():
                if table not in _KEPT_TABLES:
                    connection.execute(f"DELETE FROM {table} WHERE user = ?", (user,))
            connection.execute("UPDATE ledger SET user = ?, job_id = '' WHERE user = ?", (ANONYMOUS, user))
        return counts

    def _remove_assets(self, user: str) -> int:
        removed = 0
        for rows in iter(
            lambda: self._database.rows(
                "SELECT seq, id, folder, path FROM assets WHERE user = ? LIMIT ?", (user, _CHUNK)
            ),
            [],
        ):
            for row in rows:
                if row["path"] and not row["folder"]:
                    with translate_os_errors("the image"):
                        (self._root / row["path"]).unlink(missing_ok=True)
                self._remove_thumbnail(row["id"])
            with self._database.transaction() as connection:
                delete_rows(connection, [row["seq"] for row in rows])
            removed += len(rows)
        return removed

    def _remove_inputs(self, user: str) -> int:
        """A file that another user brought too stays for them."""
        rows = self._database.rows("SELECT hash FROM inputs WHERE user = ?", (user,))
        for row in rows:
            with self._database.transaction() as connection, translate_os_errors("the image"):
                connection.execute("DELETE FROM inputs WHERE user = ? AND hash = ?", (user, row["hash"]))
                others = connection.execute("SELECT 1 FROM inputs WHERE hash = ?", (row["hash"],)).fetchone()
                if others is None:
                    self._get_input(row["hash"]).unlink(missing_ok=True)
        return len(rows)

    def _iterate_assets(self, user: str) -> Iterator[sqlite3.Row]:
        last = 0
        while rows := self._database.rows(
            "SELECT seq, folder, path FROM assets WHERE user = ? AND seq > ? ORDER BY seq LIMIT ?",
            (user, last, _CHUNK),
        ):
            yield from rows
            last = rows[-1]["seq"]

    def _list_tables(self) -> list[str]:
        """The tables that have a column `user`."""
        rows = self._database.rows(
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'user'"
            " WHERE m.type = 'table' ORDER BY m.name"
        )
        return [row["name"] for row in rows]

    def _has_rowid(self, table: str) -> bool:
        [row] = self._database.rows("SELECT sql FROM sqlite_master WHERE name = ?", (table,))
        return "WITHOUT ROWID" not in row["sql"]

    def _describe(self, table: str, row: sqlite3.Row) -> dict[str, Any]:
        told = {name: _read_value(row[name]) for name in row.keys() if name not in ("_place", "user")}  # noqa: SIM118
        if table == "assets":
            recipes = self._database.rows("SELECT * FROM recipes WHERE seq = ?", (row["seq"],))
            told["recipe"] = {n: _read_value(recipe[n]) for recipe in recipes for n in recipe.keys()}  # noqa: SIM118
            tags = self._database.rows(
                "SELECT name FROM asset_tags JOIN tags ON tags.id = tag WHERE seq = ?", (row["seq"],)
            )
            told["tags"] = [tag["name"] for tag in tags]
        return told

    def _get_input(self, content: str) -> Path:
        return self._inputs / content[:2] / f"{content}.png"


def _read_value(value: Any) -> Any:
    """JSON that stands in a column as what it says."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value if not isinstance(value, bytes) else value.hex()

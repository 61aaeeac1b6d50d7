"""Assets written straight into a library, for tests that need many or odd ones and no files."""

from __future__ import annotations

import itertools
from typing import Any

from studio.library.asset_rows import NewRow, count_facets, insert_row, write_words
from studio.library.database import Database

_numbers = itertools.count()
_COPIED = 1_000  # rows of `add_many` that the others are copies of


def add_asset(database: Database, prompt: str = "", *, user: str = "local", created: float = 1.7e9, **more: Any) -> str:
    """Write one shown asset; returns its id. `more` are columns of `assets`, or `negative` and `loras`."""
    number = next(_numbers)
    asset_id = more.pop("id", f"{number:08x}-0")
    tables = {name: more.pop(name) for name in ("negative", "loras", "parents", "request") if name in more}
    columns = {"id": asset_id, "user": user, "state": "done", "path": f"{asset_id}.png", "job_id": f"{number:08x}"}
    row = NewRow(columns={**columns, **more}, created=created, prompt=prompt, **tables)
    with database.transaction() as connection:
        seq = insert_row(connection, row)
        assert seq is not None
        write_words(connection, seq)
        count_facets(connection, seq, 1)
    return asset_id


def add_many(database: Database, count: int, *, user: str = "local") -> None:
    """Write `count` shown assets, a multiple of 1,000, a minute apart; of each ten one is a favourite. The first 1,000
    are written as the studio does, the others copied from them."""
    with database.transaction() as connection:
        for number in range(_COPIED):
            columns = {
                "id": f"{number:08x}-many",
                "user": user,
                "state": "done",
                "path": f"many/{number}.png",
                "job_id": f"many{number:08x}",
                "width": 512,
                "height": 512,
                "model": f"m{number % 7}",
                "favourite": int(number % 10 == 0),
            }
            row = NewRow(columns=columns, created=1.7e9 + 60 * number, prompt=f"image {number} of a row")
            seq = insert_row(connection, row)
            assert seq is not None
            write_words(connection, seq)
            count_facets(connection, seq, 1)
    for copy in range(1, count // _COPIED):
        copy_assets(database, "%-many", copy, seconds=60 * _COPIED)
    with database.transaction() as connection:
        connection.execute("UPDATE facets SET count = count * ? WHERE user = ?", (count // _COPIED, user))


def copy_assets(database: Database, ids: str, copy: int, *, seconds: int) -> None:
    """Write the assets whose ids are LIKE `ids` once more, copy times `seconds` later; their words too, but no tags and
    no numbers of facets."""
    with database.transaction() as connection:
        first, last = connection.execute("SELECT MIN(seq), MAX(seq) FROM assets WHERE id LIKE ?", (ids,)).fetchone()
        own = {name: f"{name} || '-{copy}'" for name in ("id", "path", "job_id")}
        own["created"] = f"created + {copy * seconds}"
        for table in ("assets", "recipes", "texts"):
            columns = [str(row["name"]) for row in connection.execute(f"PRAGMA table_info({table})")]
            changed = {"seq": f"seq + {copy * (seconds * 1000 << 20)}", **(own if table == "assets" else {})}
            values = ", ".join(changed.get(name, name) for name in columns)
            into = f"INSERT INTO {table} ({', '.join(columns)})"
            connection.execute(f"{into} SELECT {values} FROM {table} WHERE seq BETWEEN ? AND ?", (first, last))

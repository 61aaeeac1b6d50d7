"""Assets written straight into a library, for tests that need many or odd ones and no files."""

from __future__ import annotations

import itertools
from typing import Any

from studio.library.asset_rows import NewRow, count_facets, insert_row, write_words
from studio.library.database import Database

_numbers = itertools.count()


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
    """Write `count` shown assets a minute apart, in one transaction; of each ten one is a favourite."""
    with database.transaction() as connection:
        for number in range(count):
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
            row = NewRow(columns=columns, created=1.7e9 + 60 * number, prompt=f"image {number % 1000} of a row")
            seq = insert_row(connection, row)
            assert seq is not None
            write_words(connection, seq)
            count_facets(connection, seq, 1)

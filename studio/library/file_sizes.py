"""The sizes of our own files in the index, which versions before user limits did not write there."""

from __future__ import annotations

import contextlib
from pathlib import Path

from studio.library.database import Database

_CHUNK = 500  # rows between two transactions


def fill_sizes(database: Database, root: Path) -> int:
    """Write the size of every file below `root` of which none is known; returns of how many. Files that are gone are
    passed over. Others may use the database meanwhile.

    Raises:
        StorageFailed: the index cannot be read or written.
    """
    filled = last = 0
    while True:
        rows = database.rows(
            "SELECT seq, path FROM assets WHERE folder = 0 AND bytes = 0 AND path IS NOT NULL AND seq > ?"
            " ORDER BY seq LIMIT ?",
            (last, _CHUNK),
        )
        if not rows:
            return filled
        last = rows[-1]["seq"]
        sizes: list[tuple[int, int]] = []
        for row in rows:
            with contextlib.suppress(OSError):
                sizes.append(((root / row["path"]).stat().st_size, row["seq"]))
        with database.transaction(patient=True) as connection:
            connection.executemany("UPDATE assets SET bytes = ? WHERE seq = ? AND bytes = 0", sizes)
        filled += len(sizes)

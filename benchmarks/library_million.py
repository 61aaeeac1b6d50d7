"""Searching in 1,000,000 images: 100,000 that the studio wrote, and nine copies of them with their words."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import library as many
from benchmarks.report import Row
from studio.library.asset_library import AssetLibrary
from studio.library.database import Database

COPIES = 10
BAR = 100.0  # ms for a query


def rows() -> Iterator[Row]:
    """The queries and pages of `library`; filling takes minutes."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "library.db")
        many.fill(database, many.ASSETS)
        for copy in range(1, COPIES):
            copy_all(database, copy)
        yield from many.measure_search(AssetLibrary(database, Path(folder)), many.ASSETS * COPIES, BAR)
        database.close()


def copy_all(database: Database, copy: int) -> None:
    """Write everything that `fill` wrote once more, later by its whole length."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    rows_of_tests: Any = importlib.import_module("library_rows")
    rows_of_tests.copy_assets(database, "%-0", copy, seconds=many.PERIOD * many.ASSETS)
    with database.transaction() as connection:
        connection.execute("UPDATE facets SET count = count / ? * (? + 1)", (copy, copy))

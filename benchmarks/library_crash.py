"""Killing the studio while it moves 5,000 images to the trash, again and again: row and file agree each time."""

from __future__ import annotations

import importlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import Row
from studio.library.database import Database
from studio.library.trash import Trash

IMAGES = 5_000
KILLS = 25
LONGEST = 1.5  # seconds of work before a kill
CHILD = """
import sys
from pathlib import Path
from studio.library.asset_library import AssetLibrary
from studio.library.changes import Change
from studio.library.database import Database
folder = Path(sys.argv[1])
library = AssetLibrary(Database(folder / "library.db"), folder)
print("ready", flush=True)
while True:
    library.change_many(Change(trash=True), "local", text="")
    library.change_many(Change(restore=True), "local", text="")
"""


def rows() -> Iterator[Row]:
    """Images whose row and file disagree after a kill and the settling of moves that follows."""
    dice = random.Random(3)
    wrong = moved = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = _write_images(folder)
        for _ in range(KILLS):
            _kill_while_moving(folder, dice.random() * LONGEST)
            bad, trashed = _check(folder, names)
            wrong, moved = wrong + bad, moved + (0 < trashed < IMAGES)
    note = f"{KILLS} kills, {moved} of them with some images in the trash and others not"
    yield Row(f"images of {IMAGES:,} whose row and file disagree", wrong, 0, "", note)


def _write_images(folder: Path) -> dict[str, bytes]:
    """The content of each image by its id."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    rows_of_tests: Any = importlib.import_module("library_rows")
    database = Database(folder / "library.db")
    (folder / "day").mkdir()
    names: dict[str, bytes] = {}
    for number in range(IMAGES):
        names[rows_of_tests.add_asset(database, "x", path=f"day/{number}.png", created=1.7e9 + number)] = b"%d" % number
        (folder / "day" / f"{number}.png").write_bytes(b"%d" % number)
    database.close()
    return names


def _kill_while_moving(folder: Path, seconds: float) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)


def _check(folder: Path, names: dict[str, bytes]) -> tuple[int, int]:
    """Settle what was moving; how many images are wrong, and how many in the trash."""
    database = Database(folder / "library.db")
    Trash(database, folder, lambda asset_id: None).settle(min_age=0)
    found = {row["id"]: row for row in database.rows("SELECT id, state, path FROM assets")}
    database.close()
    wrong = sum(found[one]["state"] not in ("done", "trashed") for one in names)
    for one, content in names.items():
        path = folder / found[one]["path"]
        is_there = path.is_file() and path.read_bytes() == content
        wrong += not is_there or found[one]["path"].startswith(".trash/") is not (found[one]["state"] == "trashed")
    files = sum(1 for path in folder.rglob("*.png") if path.is_file())
    return wrong + abs(files - IMAGES), sum(row["state"] == "trashed" for row in found.values())

"""What the library does by itself ends with the studio."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from fakes import DEADLINE

from studio.core.settings import Settings
from studio.library import upkeep as upkeep_module
from studio.library.asset_library import AssetLibrary
from studio.library.database import Database
from studio.library.upkeep import Upkeep


def test_upkeep_does_nothing_more_once_the_studio_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upkeep_module, "SETTLE_AGE", 0)
    database = Database(tmp_path / "library.db")
    begun, released, threads = threading.Event(), threading.Event(), list[threading.Thread]()

    def sweep_logs() -> None:
        threads.append(threading.current_thread())
        begun.set()
        released.wait(DEADLINE)

    upkeep = Upkeep(AssetLibrary(database, tmp_path), Settings, sweep_logs)
    upkeep.start()
    assert begun.wait(DEADLINE)
    upkeep.close()  # does not wait for longer than two seconds
    database.close()
    released.set()
    threads[0].join(DEADLINE)
    assert not threads[0].is_alive()
    assert not caplog.records

"""The whole studio, as it is started for users, with the model that ships and everything that belongs to it; only its
page is small."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving import RunningStudio, make_users, mount_small_page, run_server

from studio.core.settings import Settings
from studio.engine.settings_store import SettingsStore
from studio.serve import build_app
from studio.wiring import build_studio


@contextlib.contextmanager
def serve_whole_studio(folder: Path, *, users: bool = False, **settings: Any) -> Iterator[RunningStudio]:
    """Serve it on a free port of loopback, on the CPU, its files below `folder`."""
    given = {"outputs_dir": folder / "outputs", "logs_dir": folder / "logs", "device": "cpu", **settings}
    studio = build_studio(SettingsStore(Settings(**given)))
    app = build_app(studio, lambda parent: mount_small_page(parent, studio), make_users(folder) if users else None)
    with run_server(app, studio, None, end_seconds=60) as served:
        yield served

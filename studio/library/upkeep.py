"""What the library does by itself: moves that a crash cut off are brought to an end, old trash is removed, and the log
of notes is shortened."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from studio.core.errors import StudioError
from studio.core.settings import Settings
from studio.library.asset_library import AssetLibrary
from studio.library.trash import SETTLE_AGE

_PURGE_PERIOD = 86_400.0  # seconds

_log = logging.getLogger(__name__)


class Upkeep:
    """A thread of its own. `get_settings` gives the days after which images go to the trash and leave it; `sweep_logs`
    is called once a day too."""

    def __init__(
        self, library: AssetLibrary, get_settings: Callable[[], Settings], sweep_logs: Callable[[], None]
    ) -> None:
        self._library = library
        self._get_settings = get_settings
        self._sweep_logs = sweep_logs
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="library upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread; waits for what it is doing, for at most two seconds."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _run(self) -> None:
        self._attempt(lambda: self._library.settle_moves())
        self._attempt(lambda: self._library.fill_sizes())
        self._closed.wait(SETTLE_AGE)
        purged = -_PURGE_PERIOD
        while not self._closed.is_set():
            self._attempt(lambda: self._library.settle_moves())
            if time.monotonic() - purged >= _PURGE_PERIOD:
                purged = time.monotonic()
                self._attempt(lambda: self._library.trash_old(self._get_settings().image_days))
                self._attempt(lambda: self._library.purge_trash(self._get_settings().trash_days))
                self._attempt(self._sweep_logs)
                self._attempt(lambda: self._library.compact_notes())
            self._closed.wait(_PURGE_PERIOD)

    def _attempt(self, work: Callable[[], object]) -> None:
        """Do `work`, unless the studio ends; a library that cannot be written, or was closed meanwhile, is left for the
        next time."""
        if self._closed.is_set():
            return
        try:
            work()
        except StudioError as error:
            if not self._closed.is_set():
                _log.warning("the upkeep of the library was put off: %s", error.message)

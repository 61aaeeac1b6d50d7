"""What the library does by itself: moves that a crash cut off are brought to an end, old trash is removed, and the log
of notes is shortened."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from studio.core.errors import StudioError
from studio.library.asset_library import AssetLibrary
from studio.library.trash import SETTLE_AGE

_PURGE_PERIOD = 86_400.0  # seconds

_log = logging.getLogger(__name__)


class Upkeep:
    """A thread of its own. `get_trash_days` gives the days after which trash is removed, 0 for never."""

    def __init__(self, library: AssetLibrary, get_trash_days: Callable[[], int]) -> None:
        self._library = library
        self._get_trash_days = get_trash_days
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
                self._attempt(lambda: self._library.purge_trash(self._get_trash_days()))
                self._attempt(lambda: self._library.compact_notes())
            self._closed.wait(_PURGE_PERIOD)

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except StudioError as error:
            _log.warning("the upkeep of the library was put off: %s", error.message)

"""The most memory that a process holds, seen from outside."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

LARGEST = 18e9  # bytes of a process that is watched, beyond which it is ended before it harms the machine
_PERIOD = 0.05  # seconds


class MemoryWatch:
    """Looks at a process again and again. `peak` is the most that it held, in bytes. Its own high water mark would
    not do: the studio sets that back at the beginning of each pass."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._process = psutil.Process(pid)
        self.peak = 0

    def take_peak(self) -> int:
        """The peak until now; it begins anew at what is held now."""
        peak, self.peak = self.peak, self.read("VmRSS")
        return peak

    def read(self, name: str) -> int:
        """Bytes in a line of the process's status."""
        lines = dict(line.split(":", 1) for line in self._status.read_text().splitlines())
        return int(lines[name].split()[0]) * 1024

    def look(self) -> None:
        """Take what is held now into account, and end a process that holds too much."""
        self.peak = max(self.peak, self.read("VmRSS"))
        if self.peak > LARGEST:
            self._process.kill()


@contextlib.contextmanager
def watch_memory(pid: int) -> Iterator[MemoryWatch]:
    """Within the block the process is looked at."""
    watch, done = MemoryWatch(pid), threading.Event()

    def go_on() -> None:
        with contextlib.suppress(OSError, KeyError):  # it has ended
            while not done.wait(_PERIOD):
                watch.look()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()

"""How many images are decoded in processes of their own at once, and who waits for how long."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator

from studio.core.errors import QueueFull


class DecoderSlots:
    """`slots` places, given in the order of asking; at most `waiting` callers wait for one. Thread-safe."""

    def __init__(self, slots: int, waiting: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._free, self._most = slots, waiting
        self._clock = clock
        self._changed = threading.Condition()
        self._line: deque[object] = deque()

    @contextlib.contextmanager
    def take(self, seconds: float, *, patient: bool = False) -> Generator[None]:
        """One place while the block runs. Waits up to `seconds`; the `patient` wait however long the line is.

        Raises:
            QueueFull: too many wait already, or none became free in that time.
        """
        self._enter(seconds, patient)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _enter(self, seconds: float, patient: bool) -> None:
        me, end = object(), self._clock() + seconds
        with self._changed:
            if self._free < 1 and len(self._line) >= self._most and not patient:
                raise _make_busy_error()
            self._line.append(me)
            try:
                while self._free < 1 or self._line[0] is not me:
                    left = end - self._clock()
                    if left <= 0:
                        raise _make_busy_error()
                    self._changed.wait(left)
                self._free -= 1
            finally:
                self._line.remove(me)
                self._changed.notify_all()


def _make_busy_error() -> QueueFull:
    return QueueFull("Too many images are being opened just now.", hint="Try again in a few seconds.")

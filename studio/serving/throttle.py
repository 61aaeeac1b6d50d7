"""Failures counted per key within a window, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable


class Throttle:
    """At most `limit` failures per key in `window` seconds. Any thread may call it; at most `capacity` keys are
    kept."""

    def __init__(
        self, *, limit: int, window: float = 300.0, capacity: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._window = window
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[object, deque[float]] = OrderedDict()

    def begin(self, key: object) -> float:
        """Count a try as failed until `succeeded` takes it back; 0 when it may go on, else the seconds to wait.

        Counting first means that a hundred tries at once are not a hundred free ones.
        """
        now = self._clock()
        with self._lock:
            times = self._failures.setdefault(key, deque())
            self._failures.move_to_end(key)
            while times and times[0] <= now - self._window:
                times.popleft()
            if len(times) >= self._limit:
                return times[0] + self._window - now
            times.append(now)
            while len(self._failures) > self._capacity:
                self._failures.popitem(last=False)
            return 0.0

    def record_success(self, key: object, *, forget: bool) -> None:
        """The last try was right: take it back, or `forget` all failures of the key."""
        with self._lock:
            times = self._failures.get(key)
            if times is None:
                return
            if times:
                times.pop()
            if forget or not times:
                del self._failures[key]

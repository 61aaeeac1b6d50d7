"""Several servers of one's own behind one service: who gets the next pass, and who is left alone for a while."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence

from studio.core.errors import ProviderError, RateLimited, Unreachable

REST_SECONDS = 30.0  # that a server is not asked after it did not answer, while others do


class AddressPool:
    """Counts what runs at each address and remembers which did not answer. Thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: collections.Counter[str] = collections.Counter()
        self._failed: dict[str, float] = {}

    @contextlib.contextmanager
    def lease(self, addresses: Sequence[str], tried: Collection[str] = ()) -> Generator[str]:
        """The one of `addresses` with the least to do, none of `tried` and none that rests unless there is no other.
        One where the enclosed work finds that it is gone or broken rests for a while."""
        with self._lock:
            now = self._clock()
            fresh = [one for one in addresses if one not in tried] or list(addresses)
            awake = [one for one in fresh if self._failed.get(one, now - REST_SECONDS) <= now - REST_SECONDS] or fresh
            address = min(awake, key=lambda one: self._running[one])
            self._running[address] += 1
        try:
            yield address
            self._failed.pop(address, None)
        except ProviderError as error:
            if may_other_servers_do_better(error) and not isinstance(error, RateLimited):
                self._failed[address] = self._clock()
            raise
        finally:
            with self._lock:
                self._running[address] -= 1


def may_other_servers_do_better(error: ProviderError) -> bool:
    """Whether `error` is about this server: it is gone, busy, or answers what nobody understands. Not what is wrong
    with the request, its text or the key."""
    return isinstance(error, Unreachable | RateLimited) or type(error) is ProviderError


def split_addresses(text: str) -> list[str]:
    """The addresses in a setting, separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]

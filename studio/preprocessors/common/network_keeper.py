"""Networks and sessions that are loaded once and kept, the ones used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

MAX_CACHED_NETWORKS = 6


@dataclass
class _CacheEntry:
    """`item` is None until it is loaded; `lock` is held while it loads, and while a torch network runs."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    item: Any = None


class NetworkCache:
    """At most `most` loaded things by name; the one unused for longest leaves first. Safe from any thread."""

    def __init__(self, most: int = MAX_CACHED_NETWORKS) -> None:
        self._most = most
        self._entries: OrderedDict[str, _CacheEntry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, load: Callable[[], Any]) -> Any:
        """The result of the first `load`; raises what it raises."""
        entry = self._get_entry(name)
        with entry.lock:
            return self._load_item(entry, load)

    @contextmanager
    def network(self, name: str, device: str, load: Callable[[], Any]) -> Iterator[Any]:
        """As `get`, for one block at a time; a torch module, or the first of a tuple, is on `device` within it."""
        entry = self._get_entry(name)
        with entry.lock:
            item = self._load_item(entry, load)
            module = item[0] if isinstance(item, tuple) else item
            try:
                module.to(device)
                yield item
            finally:
                module.to("cpu")  # the graphics memory is the drawing models'

    def clear(self) -> None:
        """Let everything go that is not in use."""
        with self._lock:
            self._entries.clear()

    def _get_entry(self, name: str) -> _CacheEntry:
        with self._lock:
            entry = self._entries.setdefault(name, _CacheEntry())
            self._entries.move_to_end(name)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
            return entry

    @staticmethod
    def _load_item(entry: _CacheEntry, load: Callable[[], Any]) -> Any:
        if entry.item is None:
            entry.item = load()
        return entry.item

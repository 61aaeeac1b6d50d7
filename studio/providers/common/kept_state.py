"""State that services keep across restarts: the names of a server's own models, and orders whose end
is not known. What is lost can be asked for again, so that a file that cannot be read or written is no error."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.core.durable_files import replace_synced
from studio.core.provider import HttpRequest, KeptOrder

_MAX_AGE = 86_400.0  # seconds for which a service still knows an order


class _KeptTable:
    """A JSON object in `file`, in memory alone without one. Not thread-safe."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._table: dict[str, Any] | None = None

    def load(self) -> dict[str, Any]:
        if self._table is None:
            self._table = {}
            if self._file is not None:
                with contextlib.suppress(OSError, ValueError, RecursionError):
                    found = json.loads(self._file.read_text(encoding="utf-8"))
                    self._table = found if isinstance(found, dict) else {}
        return self._table

    def store(self, table: dict[str, Any]) -> None:
        self._table = table
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                replace_synced(self._file, json.dumps(table).encode(), 0o600)


class ServerModelNames:
    """The names of the models that a server of one's own has, by its address. Thread-safe."""

    def __init__(self, file: Path | None = None) -> None:
        self._kept = _KeptTable(file)
        self._lock = threading.Lock()

    def get(self, address: str) -> tuple[str, ...]:
        """The models of the server at `address` when they were last listed."""
        with self._lock:
            found = self._kept.load().get(address)
        return tuple(map(str, found)) if isinstance(found, list) else ()

    def put(self, address: str, names: Sequence[str]) -> None:
        """The server has these names now; those of other addresses are forgotten."""
        with self._lock:
            table = {address: list(names)}
            if self._kept.load() != table:
                self._kept.store(table)


class OpenOrders:
    """Orders that a service has taken and not yet ended, by what was ordered: the same order is not sent a second time
    while the end of the first is unknown, not even after a restart. Thread-safe."""

    def __init__(self, file: Path | None = None) -> None:
        self._kept = _KeptTable(file)
        self._lock = threading.Lock()
        self._followed: set[str] = set()

    def get(self, key: str) -> KeptOrder | None:
        """The order, where its end is not known and nobody follows it."""
        with self._lock:
            found = self._kept.load().get(key)
            if key in self._followed or not isinstance(found, dict) or not isinstance(found.get("task"), dict):
                return None
            now = time.time()
            return KeptOrder(found["task"], _get_taken(found, now)) if _is_young(found, now) else None

    @contextlib.contextmanager
    def follow(self, key: str, task: Mapping[str, Any]) -> Generator[list[bool]]:
        """Keep the order while it is followed, and after that when the block says that its end is not known: it is
        given a list, and puts something in."""
        unknown: list[bool] = []
        with self._lock:
            self._followed.add(key)
            now = time.time()
            others = {name: one for name, one in self._kept.load().items() if _is_young(one, now)}
            self._kept.store({**others, key: {"task": dict(task), "taken": _get_taken(others.get(key), now)}})
        try:
            yield unknown
        finally:
            with self._lock:
                self._followed.discard(key)
                if not unknown:
                    self._kept.store({name: one for name, one in self._kept.load().items() if name != key})


def make_order_key(call: HttpRequest) -> str:
    """The key of an order: the content of its call."""
    digest = hashlib.sha256(json.dumps([call.method, call.path, call.json, call.form], sort_keys=True).encode())
    for name, (_, data, kind) in call.files:
        digest.update(f"{name} {kind} {len(data)} ".encode() + data)
    return digest.hexdigest()


def _get_taken(entry: Any, now: float) -> float:
    taken = entry.get("taken") if isinstance(entry, dict) else None
    return taken if isinstance(taken, int | float) else now


def _is_young(entry: Any, now: float) -> bool:
    return isinstance(entry, dict) and now - _get_taken(entry, 0.0) < _MAX_AGE

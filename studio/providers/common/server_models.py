"""The names of the models that a server of one's own has, kept from one start to the next."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path

from studio.core.durable_files import replace_synced


class ServerModelNames:
    """Names by the server's address, in `file`; in memory alone without one. Thread-safe. What is lost can be asked
    for again, so that a file that cannot be read or written is no error."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._names: dict[str, tuple[str, ...]] | None = None

    def get(self, address: str) -> tuple[str, ...]:
        """What the server at `address` had when it was last asked."""
        with self._lock:
            return self._load().get(address, ())

    def put(self, address: str, names: Sequence[str]) -> None:
        """The server has these names now; those of other addresses are forgotten."""
        with self._lock:
            if self._load() == {address: tuple(names)}:
                return
            self._names = {address: tuple(names)}
            if self._file is not None:
                self._write(self._file)

    def _load(self) -> dict[str, tuple[str, ...]]:
        if self._names is None:
            self._names = {}
            if self._file is not None:
                with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
                    found = json.loads(self._file.read_text(encoding="utf-8"))
                    self._names = {str(address): tuple(map(str, names)) for address, names in found.items()}
        return self._names

    def _write(self, file: Path) -> None:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_synced(file, json.dumps(self._names).encode())

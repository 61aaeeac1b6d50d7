"""Which studio processes are alive on an outputs folder: each holds a lock on a file of its own for as long as it
lives.

The kernel drops the lock with the process, however it ends; a process number alone could have been given to another.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Generator
from pathlib import Path

OWNERS_FOLDER = ".owners"


class ProcessLock:
    """This process's mark on an outputs folder. `id` is unique for ever."""

    def __init__(self, root: Path) -> None:
        self.id = uuid.uuid4().hex
        self._folder = root / OWNERS_FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._get_lock_path(self.id), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def is_alive(self, owner_id: str) -> bool:
        """Whether the process with that mark still runs; a dead one's file is removed."""
        if owner_id == self.id:
            return True
        path = self._get_lock_path(owner_id)
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def release(self) -> None:
        """Give the mark back; our unfinished jobs may be claimed by others from now on."""
        self._get_lock_path(self.id).unlink(missing_ok=True)
        os.close(self._handle)

    def _get_lock_path(self, owner_id: str) -> Path:
        return self._folder / f"{Path(owner_id).name}.lock"


@contextlib.contextmanager
def lock_folder(root: Path) -> Generator[None]:
    """Keep other processes out of the enclosed work on this folder."""
    folder = root / OWNERS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "open.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

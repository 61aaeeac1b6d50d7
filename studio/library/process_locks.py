"""Locks of the studio processes on an outputs folder: each holds a lock on a file of its own for as long as it
lives.

The kernel drops the lock with the process, however it ends; a process number alone could have been given to another.
Where the outputs folder's file system refuses locks (some network shares do), they are kept in a local folder: then
processes of one machine still know of each other, those of other machines do not.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import tempfile
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from studio.core.errors import StorageFailed

OWNERS_FOLDER = ".owners"
_OPEN_LOCK = "open.lock"

_log = logging.getLogger(__name__)


class ProcessLock:
    """This process's mark on an outputs folder. `id` is unique for ever."""

    def __init__(self, root: Path) -> None:
        self.id = uuid.uuid4().hex
        self._folder = find_lock_folder(root)
        self._lock = _make_lock(self._get_lock_path(self.id))
        self._lock.acquire()

    def is_alive(self, owner_id: str) -> bool:
        """Whether the process with that mark still runs; a dead one's file is removed."""
        path = self._get_lock_path(owner_id)
        if owner_id == self.id:
            return True
        if not path.exists():
            return False
        try:
            with _make_lock(path).acquire(timeout=0):
                path.unlink(missing_ok=True)
        except Timeout:
            return True
        return False

    def release(self) -> None:
        """Give the mark back; our unfinished jobs may be claimed by others from now on."""
        self._get_lock_path(self.id).unlink(missing_ok=True)
        self._lock.release()

    def _get_lock_path(self, owner_id: str) -> Path:
        return self._folder / f"{Path(owner_id).name}.lock"


@contextlib.contextmanager
def lock_folder(root: Path) -> Generator[None]:
    """Keep other processes out of the enclosed work on this folder."""
    with _make_lock(find_lock_folder(root) / _OPEN_LOCK):
        yield


def find_lock_folder(root: Path) -> Path:
    """The folder of the locks of the outputs folder `root`: in it, or in a local folder where it refuses them."""
    folder = root / OWNERS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(Timeout):  # held: so there are locks
        try:
            with _make_lock(folder / "probe.lock").acquire(timeout=0):
                pass
        except OSError as error:
            if isinstance(error, Timeout):
                raise
            return _make_local_folder(root, error)
    return folder


def can_lock_ranges(root: Path) -> bool:
    """Whether files below `root` take the locks that SQLite uses. Always where there is no POSIX."""
    try:
        fcntl: Any = importlib.import_module("fcntl")
    except ImportError:
        return True
    path = root / OWNERS_FOLDER / "ranges.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        _log.warning("the outputs folder takes no locks (%s)", error)
        return False
    finally:
        os.close(handle)
    return True


def hold_alone(root: Path) -> FileLock:
    """A lock that this process alone has, for a folder that cannot be shared safely; the caller releases it.

    Raises:
        StorageFailed: another process of this machine has it.
    """
    lock = _make_lock(find_lock_folder(root) / "alone.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StorageFailed(
            "Another studio works on this outputs folder, and its disk cannot lock files.",
            hint="Close the other one, or choose an outputs folder on a local disk.",
        ) from error
    return lock


def _make_lock(path: Path) -> FileLock:
    return FileLock(path, mode=0o600, thread_local=False)


def _make_local_folder(root: Path, error: OSError) -> Path:
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    for parent in (Path(caches) / "easel", Path(tempfile.gettempdir()) / "easel"):
        folder = parent / "locks" / name
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _log.warning("the outputs folder takes no locks (%s): they are kept in %s", error, folder)
            return folder
    raise error

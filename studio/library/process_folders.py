"""Temporary folders that go with their process, or with the next one's start where it was killed."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK = "alive.lock"
_YOUNG_SECONDS = 60.0  # the process that made it may not have locked it yet

_log = logging.getLogger(__name__)


class ProcessFolder:
    """A temporary folder that this user alone can read, marked as in use for as long as this process lives."""

    def __init__(self, prefix: str) -> None:
        """Make it, and remove those of this prefix and user whose processes ended without that."""
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = _make_lock(self.path)
        with contextlib.suppress(OSError):  # a disk that takes no locks: then nobody removes it but we
            self._lock.acquire()
        for folder in self.path.parent.glob(f"{prefix}*"):
            if _is_left_behind(folder, self.path.stat().st_uid):
                _log.info("removed %s of a process that has ended", folder)
                shutil.rmtree(folder, ignore_errors=True)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def _is_left_behind(folder: Path, user: int) -> bool:
    """Whether `folder` is one of `user` whose process has ended. One without a lock is of an older version, or a
    system's cleaner took the lock: nothing says that its process has ended."""
    try:
        found = folder.lstat()
        if found.st_uid != user or folder.is_symlink() or time.time() - found.st_mtime < _YOUNG_SECONDS:
            return False
        if not (folder / _LOCK).is_file():
            return False
        with _make_lock(folder).acquire(timeout=0):
            return True
    except (Timeout, OSError):
        return False


def _make_lock(folder: Path) -> FileLock:
    return FileLock(folder / _LOCK, mode=0o600, thread_local=False)

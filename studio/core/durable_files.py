"""Write files durably: to a temporary file, synced, then renamed, so that a crash at any moment leaves a whole file or
none.

The order (sync the file, rename it, sync the folder) follows PostgreSQL's durable_rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

from studio.core.errors import StorageFailed

_REASONS = {
    errno.ENOSPC: ("The disk is full.", "Free some space, then try again. Finished images are kept."),
    errno.EDQUOT: ("Your disk quota is used up.", "Free some space, then try again. Finished images are kept."),
    errno.EROFS: ("The folder is on a read-only disk.", "Choose another folder in Configurations."),
    errno.EACCES: ("The folder is not writable.", "Give the studio write permission for it, then try again."),
    errno.EPERM: ("The folder is not writable.", "Give the studio write permission for it, then try again."),
    errno.EMFILE: ("Too many files are open.", "Try again in a moment, or raise the limit of open files."),
}
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS)
"""Errors of file systems that cannot sync a folder: network shares, FUSE, Windows."""
_REPLACE_TRIES, _REPLACE_PAUSE = 20, 0.05  # times, and seconds between two
_CANNOT_OPEN_FOLDER = (*_CANNOT_SYNC, errno.EACCES, errno.EPERM, errno.EISDIR)


@contextlib.contextmanager
def translate_os_errors(what: str) -> Generator[None]:
    """Turn an OSError raised by the block into StorageFailed; `what` is a noun phrase such as "the image"."""
    try:
        yield
    except OSError as error:
        reason, hint = _REASONS.get(
            error.errno or 0, (f"The disk reported: {error.strerror or error}.", "Check the disk, then try again.")
        )
        raise StorageFailed(f"Could not save {what}. {reason}", hint=hint, details={"errno": error.errno}) from error


def write_synced(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path`, replacing its content, and wait until it is on the disk. A new file gets `mode`."""
    binary = getattr(os, "O_BINARY", 0)  # without it Windows writes two bytes for each line feed
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | binary, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Wait until what others have written to `path` is on the disk."""
    handle = os.open(path, os.O_RDWR)  # Windows syncs no file that is open for reading alone
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(part: Path, target: Path) -> None:
    """Rename the finished file `part` to `target`, which must not exist.

    A hard link does it in one step. Where it is refused, for whatever reason, an empty file claims the name first.

    Raises:
        FileExistsError: the name is taken; `part` is kept.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        if not part.exists():
            raise
        _claim_and_move(part, target)
    else:
        os.unlink(part)
    sync_folder(target.parent)


def _claim_and_move(part: Path, target: Path) -> None:
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except FileExistsError:
        if not os.path.samefile(part, target):
            raise
        os.unlink(part)  # the link was made although an error came back
        return
    try:
        os.replace(part, target)
    except OSError:
        with contextlib.suppress(OSError):
            target.unlink()
        raise


def replace_synced(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` by `data` in one step: readers see the old content or the new. The file has `mode` from its first
    byte on.

    Raises:
        OSError: the old content is kept.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        part.unlink(missing_ok=True)
        write_synced(part, data, mode)
        _replace_patiently(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _replace_patiently(part: Path, path: Path) -> None:
    """As os.replace. On Windows it is refused while anybody has `path` open, a virus scanner for example; then it is
    tried again for a second."""
    tries = _REPLACE_TRIES if sys.platform == "win32" else 1
    for left in reversed(range(tries)):
        try:
            os.replace(part, path)
            return
        except PermissionError:
            if not left:
                raise
        time.sleep(_REPLACE_PAUSE)


def make_folder(folder: Path, root: Path) -> None:
    """Create `folder`, somewhere below `root`, and sync the folders above it."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for above in folder.parents:
        sync_folder(above)
        if above == root:
            return


def sync_folder(folder: Path) -> None:
    """Sync the directory entries of `folder`, as far as its file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _CANNOT_OPEN_FOLDER:
            raise
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)

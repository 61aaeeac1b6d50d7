"""Durable writing: aside, synced, then in place, so that a crash at any moment leaves a whole file or none.

The order (sync the file, name it, sync the folder) is PostgreSQL's durable_rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator
from pathlib import Path

from studio.core.errors import StorageFailed

_REASONS = {
    errno.ENOSPC: ("The disk is full.", "Make room, then try again: nothing has to be drawn a second time."),
    errno.EDQUOT: ("Your disk quota is used up.", "Make room, then try again: nothing has to be drawn a second time."),
    errno.EROFS: ("The outputs folder is on a read-only disk.", "Choose another outputs folder in Configurations."),
    errno.EACCES: ("The outputs folder may not be written.", "Give the studio write permission there, then try again."),
    errno.EPERM: ("The outputs folder may not be written.", "Give the studio write permission there, then try again."),
    errno.EMFILE: ("Too many files are open.", "Try again in a moment, or raise the limit of open files."),
}
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL)


@contextlib.contextmanager
def translate_os_errors(what: str) -> Generator[None]:
    """Turn an OSError of the enclosed writing into StorageFailed; `what` is a noun phrase, "the image"."""
    try:
        yield
    except OSError as error:
        reason, hint = _REASONS.get(
            error.errno or 0, (f"The disk answered: {error.strerror or error}.", "Look at the disk, then try again.")
        )
        raise StorageFailed(f"Could not save {what}. {reason}", hint=hint, details={"errno": error.errno}) from error


def write_synced(path: Path, data: bytes) -> None:
    """Write `data` to `path` (replacing it) and wait until it is on the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(part: Path, target: Path) -> None:
    """Give the finished file `part` the name `target`, which must be free.

    A hard link does it in one step. Where a file system has none, an empty file claims the name first.

    Raises:
        FileExistsError: the name is taken; `part` is still there.
    """
    try:
        os.link(part, target)
        os.unlink(part)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS or not part.exists():
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        os.replace(part, target)
    sync_folder(target.parent)


def replace_synced(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step: readers see the old content or the new."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write_synced(part, data)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(folder: Path, root: Path) -> None:
    """Make `folder`, somewhere below `root`, and make its name durable."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for above in folder.parents:
        sync_folder(above)
        if above == root:
            return


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

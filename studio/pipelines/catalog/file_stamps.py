"""Whether a weight file, or a folder of them, is still what it was."""

from __future__ import annotations

from pathlib import Path

FileStamp = tuple[tuple[str, int, int, int], ...]
"""(path, bytes, time of change in ns, inode) of each file; empty where nothing can be read."""


def read_stamp(path: Path) -> FileStamp:
    """The stamp of a file, or of all files in a folder: equal while nothing was written or exchanged."""
    try:
        found = [(str(file), file.stat()) for file in _list_files(path)]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in found))


def make_stamp(path: Path) -> tuple[str, int, int]:
    """(path, bytes, time of the last change in ns) for what is remembered on disk: while these are the same, so is the
    file.

    Raises:
        OSError: it is gone.
    """
    stats = [file.stat() for file in _list_files(path)]
    return str(path), sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


def _list_files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]

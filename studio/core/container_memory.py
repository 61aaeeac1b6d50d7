"""The memory that a container may take: the kernel ends a program that takes more, however much the machine has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_NO_LIMIT = 2**60  # version 1 writes a number about this large for none


@dataclass(frozen=True)
class ContainerMemory:
    """Bytes in all, and those that are not taken; what the kernel keeps of files only until it needs the memory is
    not."""

    limit: int
    free: int


def read_container_memory(groups: Path = _GROUPS, own: Path = _OWN) -> ContainerMemory | None:
    """The tightest memory limit of the control groups that this process is in; None where there is none, as outside of
    containers and on other systems. `groups` is where the kernel shows all groups, `own` the list of one's own."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    found = [limit for line in lines for limit in _read_limits(groups, line)]
    if not found:
        return None
    return ContainerMemory(min(one.limit for one in found), max(0, min(one.free for one in found)))


def _read_limits(groups: Path, line: str) -> Iterator[ContainerMemory]:
    """The limits of the group in one line of the list, "number:controllers:path", and of those that it lies in."""
    _, controllers, path = line.split(":", 2)
    if controllers and "memory" not in controllers.split(","):
        return
    names = ("memory.max", "memory.current", "inactive_file")
    if controllers:
        groups = groups / "memory"
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    folder = groups / path.lstrip("/")
    for place in (folder, *folder.parents):  # within a container the path may be the host's, of which nothing is shown
        if place.is_relative_to(groups):
            limit, used = _read_number(place / names[0]), _read_number(place / names[1])
            if limit is not None and used is not None:
                yield ContainerMemory(limit, limit - used + _read_inactive(place / "memory.stat", names[2]))


def _read_number(path: Path) -> int | None:
    """The number in a file of the kernel; None for no file and for no limit."""
    try:
        found = int(path.read_text())
    except (OSError, ValueError):  # "max"
        return None
    return found if found < _NO_LIMIT else None


def _read_inactive(path: Path, name: str) -> int:
    try:
        entries = dict(line.split(" ", 1) for line in path.read_text().splitlines())
        return int(entries.get(name, 0))
    except (OSError, ValueError):
        return 0

"""How the C library and torch take memory from the system: freed pages are kept for the next layer instead of being
given back and cleared anew, which costs up to a third of the time of a model on a CPU."""

from __future__ import annotations

import ctypes
import os
import sys

_LARGEST = 2**31 - 1  # what mallopt's int takes
_TOP_PAD = 64 * 2**20  # bytes
# glibc's parameters (malloc.h) in the order in which they are set. One arena, because every thread would keep pages
# that the others could use.
_PARAMETERS = {
    "M_ARENA_MAX": (-8, 1),
    "M_MMAP_THRESHOLD": (-3, _LARGEST),
    "M_TRIM_THRESHOLD": (-1, _LARGEST),
    "M_TOP_PAD": (-2, _TOP_PAD),
}


def keep_freed_memory() -> bool:
    """Let this process keep the pages that it frees, and torch ask for large ones. Call it before torch is imported and
    threads are started.

    Returns whether the C library has such settings and took them: glibc on Linux; nothing happens elsewhere.
    `device_memory.release_memory` gives kept pages back all the same.
    """
    if not sys.platform.startswith("linux"):
        return False
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch: huge pages for tensors of 2 MiB and more
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt") or not hasattr(libc, "gnu_get_libc_version"):
        return False  # musl
    return all(libc.mallopt(number, value) for number, value in _PARAMETERS.values())

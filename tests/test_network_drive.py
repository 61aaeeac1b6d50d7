"""The library on disks that refuse what local disks can: shared memory, locks, folders that sync."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.errors import StorageFailed
from studio.library.database import Database
from studio.library.process_locks import ProcessLock, find_lock_folder

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/file.h>
#include <sys/mman.h>
static int refused(const char *what, int fd) {
  const char *drive = getenv("DRIVE");
  char link[64], path[4096];
  if (fd < 0 || !getenv(what) || !drive) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  return size > 0 && (path[size] = 0, strncmp(path, drive, strlen(drive)) == 0);
}
int flock(int fd, int how) {
  if (refused("NO_FLOCK", fd)) { errno = EOPNOTSUPP; return -1; }
  return ((int (*)(int, int)) dlsym(RTLD_NEXT, "flock"))(fd, how);
}
static int guarded(const char *name, int fd, int order, void *argument) {
  int locks = order == F_SETLK || order == F_SETLKW || order == F_GETLK;
  if (locks && refused("NO_RANGES", fd)) { errno = ENOLCK; return -1; }
  return ((int (*)(int, int, ...)) dlsym(RTLD_NEXT, name))(fd, order, argument);
}
int fcntl(int fd, int order, ...) {
  va_list more; va_start(more, order); void *argument = va_arg(more, void *); va_end(more);
  return guarded("fcntl", fd, order, argument);
}
int fcntl64(int fd, int order, ...) {
  va_list more; va_start(more, order); void *argument = va_arg(more, void *); va_end(more);
  return guarded("fcntl64", fd, order, argument);
}
static void *mapped(const char *name, void *at, size_t size, int prot, int flags, int fd, off_t from) {
  if ((flags & MAP_SHARED) && refused("NO_SHARED", fd)) { errno = ENODEV; return MAP_FAILED; }
  return ((void *(*)(void *, size_t, int, int, int, off_t)) dlsym(RTLD_NEXT, name))(at, size, prot, flags, fd, from);
}
void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t from) {
  return mapped("mmap", at, size, prot, flags, fd, from);
}
void *mmap64(void *at, size_t size, int prot, int flags, int fd, off_t from) {
  return mapped("mmap64", at, size, prot, flags, fd, from);
}
"""
WORK = """
import sys, time
from pathlib import Path
from studio.library.database import Database
from studio.library.process_locks import ProcessLock
root = Path(sys.argv[1])
database = Database(root / "library.db")
owner = ProcessLock(root)
with database.transaction() as connection:
    connection.execute("INSERT INTO timings (key, seconds) VALUES (?, 1)", (sys.argv[2],))
print(database.rows("PRAGMA journal_mode")[0][0], len(database.rows("SELECT * FROM timings")), flush=True)
if len(sys.argv) > 3:
    sys.stdin.readline()
owner.release()
database.close()
"""
LIMITS = [("NO_SHARED",), ("NO_FLOCK",), ("NO_RANGES",), ("NO_SHARED", "NO_FLOCK", "NO_RANGES")]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes the system refuse what a network drive refuses."""
    if shutil.which("gcc") is None or sys.platform != "linux":
        pytest.skip("needs gcc on Linux")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    built = folder / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", built, folder / "shim.c", "-ldl"], check=True)
    return built


def environment(shim: Path, limits: tuple[str, ...], tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "DRIVE": str(tmp_path / "out"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        **dict.fromkeys(limits, "1"),
    }


def work(root: Path, key: str, env: dict[str, str] | None = None) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(root), key], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.mark.parametrize("limits", LIMITS)
def test_the_library_opens_is_written_and_comes_back(shim: Path, tmp_path: Path, limits: tuple[str, ...]) -> None:
    root = tmp_path / "out"
    env = environment(shim, limits, tmp_path)
    journal = "wal" if limits == ("NO_FLOCK",) else "delete"
    assert work(root, "a", env) == [journal, "1"]
    assert work(root, "b", env) == [journal, "2"]
    assert work(root, "c") == ["wal", "3"]  # on a local disk again
    assert work(root, "d", env) == [journal, "4"]


def test_a_second_process_is_refused_where_nothing_can_be_locked(shim: Path, tmp_path: Path) -> None:
    env = environment(shim, LIMITS[-1], tmp_path)
    first = subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path / "out"), "a", "wait"],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdout.readline().split() == ["delete", "1"]
    second = subprocess.run(
        [sys.executable, "-c", WORK, str(tmp_path / "out"), "b"], env=env, capture_output=True, text=True, check=False
    )
    first.communicate("go on", timeout=60)
    assert "Another studio works on this outputs folder" in second.stderr
    assert first.returncode == 0


def test_a_log_that_a_crash_left_is_read_without_shared_memory(shim: Path, tmp_path: Path) -> None:
    database = Database(tmp_path / "library.db")
    with database.transaction() as connection:
        connection.execute("INSERT INTO timings (key, seconds) VALUES ('a', 1)")
    (tmp_path / "out").mkdir()
    for ending in ("", "-wal"):
        shutil.copy(tmp_path / f"library.db{ending}", tmp_path / "out" / f"library.db{ending}")
    database.close()
    assert work(tmp_path / "out", "b", environment(shim, ("NO_SHARED",), tmp_path)) == ["delete", "2"]


def test_a_library_that_is_locked_is_not_opened_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.library.database._BUSY_MS", 50)
    holder = sqlite3.connect(tmp_path / "library.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageFailed, match="locked"):
        Database(tmp_path / "library.db")
    holder.close()


def test_locks_lie_in_the_outputs_folder_where_it_takes_them(tmp_path: Path) -> None:
    assert find_lock_folder(tmp_path) == tmp_path / ".owners"
    one, two = ProcessLock(tmp_path), ProcessLock(tmp_path)
    assert one.is_alive(two.id)
    two.release()
    assert not one.is_alive(two.id)
    one.release()

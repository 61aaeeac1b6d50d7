"""Previews and other temporary files go with their process, or with the next one's start where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import DEADLINE

from studio.engine.jobs.previews import Previews
from studio.library.process_folders import ProcessFolder

StartChild = Callable[[], tuple[subprocess.Popen[str], Path]]
CHILD = """
import sys
from PIL import Image
from studio.engine.jobs.previews import Previews
previews = Previews()
print(previews.write("job", Image.new("RGB", (8, 8)), 8), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, of tests and children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def start_child() -> Iterator[StartChild]:
    """What starts a process with previews, and tells the folder that they are in."""
    children: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], Path]:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        children.append(child)
        assert child.stdout is not None
        preview = Path(child.stdout.readline().strip())
        assert preview.is_file()
        return child, preview.parent

    yield start
    for child in children:
        child.kill()
        child.communicate()


def make_old(folder: Path) -> None:
    """As if nothing had been written for an hour."""
    then = time.time() - 3600
    os.utime(folder, (then, then))


def test_previews_of_a_killed_process_go_when_the_next_one_starts(temporary: Path, start_child: StartChild) -> None:
    (killed, left), (_, living) = start_child(), start_child()
    killed.kill()
    assert killed.wait(DEADLINE) == -signal.SIGKILL
    for folder in (left, living):
        make_old(folder)
    Previews().close()
    assert list(temporary.iterdir()) == [living]
    assert list(living.glob("*.jpg"))


def test_what_may_be_in_use_stays(temporary: Path) -> None:
    """Folders without a lock, young ones, those of other prefixes, links to folders, and files."""
    unlocked, young, other, target = (temporary / name for name in ("x-unlocked", "x-young", "y-other", "target"))
    for folder in (unlocked, young, other, target):
        folder.mkdir()
    for folder in (young, other, target):
        (folder / "alive.lock").touch()
    link, file = temporary / "x-link", temporary / "x-file"
    link.symlink_to(target)
    os.utime(link, (0, 0), follow_symlinks=False)
    file.touch()
    for path in (unlocked, other, target, file):
        make_old(path)
    before = sorted(temporary.rglob("*"))
    ProcessFolder("x-").remove()
    assert sorted(temporary.rglob("*")) == before
    make_old(young)
    ProcessFolder("x-").remove()
    assert sorted(set(before) - set(temporary.rglob("*"))) == [young, young / "alive.lock"]


def test_folders_of_other_users_stay(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = temporary / "x-theirs"
    folder.mkdir()
    (folder / "alive.lock").touch()
    with monkeypatch.context() as patched:
        theirs = SimpleNamespace(st_uid=folder.stat().st_uid + 1, st_mtime=0.0)
        patched.setattr(Path, "lstat", lambda path: theirs)
        ProcessFolder("x-").remove()
    assert folder.exists()
    make_old(folder)
    ProcessFolder("x-").remove()
    assert not folder.exists()


def test_a_second_one_of_the_same_process_keeps_the_first(temporary: Path) -> None:
    first = ProcessFolder("x-")
    make_old(first.path)
    ProcessFolder("x-").remove()
    assert first.path.is_dir()
    assert first.path.stat().st_mode & 0o077 == 0
    first.remove()
    assert not list(temporary.iterdir())

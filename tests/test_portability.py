"""The program runs where there is no POSIX: nothing of it is imported, and files are written as bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from studio.core import durable_files
from studio.engine.storage.file_names import build_file_name, find_path_user

ROOT = Path(__file__).parent.parent
POSIX_ONLY = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
IMPORT_ALL = f"""
import builtins, importlib, os, pkgutil, signal, sys
missing = set({POSIX_ONLY!r})
real_import, real_module = builtins.__import__, importlib.import_module

def is_ours(name):
    return name.partition(".")[0] in ("studio", "app", "run", "benchmarks")

def check(name, caller):
    if name.partition(".")[0] in missing and is_ours(caller):
        raise ModuleNotFoundError("No module named " + repr(name) + " for " + caller, name=name)

def import_checked(name, globals=None, locals=None, fromlist=(), level=0):
    check(name, (globals or {{}}).get("__name__", ""))
    return real_import(name, globals, locals, fromlist, level)

def import_module_checked(name, package=None):
    check(name, sys._getframe(1).f_globals.get("__name__", ""))
    return real_module(name, package)

builtins.__import__, importlib.import_module = import_checked, import_module_checked
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGCHLD", "ITIMER_REAL", "setitimer", "alarm"):
    delattr(signal, name)
import studio
names = [found.name for found in pkgutil.walk_packages(studio.__path__, "studio.")]
for name in ("app", "run", *names):
    real_module(name)
print(len(names))
"""


@pytest.mark.slow
def test_every_module_can_be_imported_without_posix() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 250


def test_a_module_that_imports_posix_is_found(tmp_path: Path) -> None:
    """The test above would see one."""
    package = tmp_path / "studio"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "locks.py").write_text("import fcntl\n")
    for name in ("app", "run"):
        (tmp_path / f"{name}.py").write_text("")
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "No module named 'fcntl' for studio.locks" in done.stderr


def test_bytes_are_written_as_they_are_where_files_are_text_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: list[int] = []
    real = os.open
    monkeypatch.setattr(os, "O_BINARY", 0x8000, raising=False)
    monkeypatch.setattr(os, "open", lambda path, flag, mode=0o777: flags.append(flag) or real(path, flag, mode))
    durable_files.write_synced(tmp_path / "a.png", b"\r\n\x1a\n")
    assert flags[0] & 0x8000
    assert (tmp_path / "a.png").read_bytes() == b"\r\n\x1a\n"


def test_a_file_that_somebody_has_open_on_windows_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []
    real = os.replace

    def refuse_twice(old: Path, new: Path) -> None:
        if len(refused) < 2:
            refused.append(1)
            raise PermissionError(13, "the file is used by another process")
        real(old, new)

    monkeypatch.setattr(os, "replace", refuse_twice)
    monkeypatch.setattr(durable_files, "_REPLACE_PAUSE", 0.001)
    with pytest.raises(PermissionError):
        durable_files.replace_synced(tmp_path / "config.json", b"{}")
    monkeypatch.setattr(sys, "platform", "win32")
    refused.clear()
    durable_files.replace_synced(tmp_path / "config.json", b"{}")
    assert len(refused) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["config.json"]


def test_a_file_that_stays_open_on_windows_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(old: Path, new: Path) -> None:
        raise PermissionError(13, "the file is used by another process")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(durable_files, "_REPLACE_PAUSE", 0.001)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(PermissionError):
        durable_files.replace_synced(tmp_path / "config.json", b"{}")
    assert list(tmp_path.iterdir()) == []


END_BY_SIGNAL = """
import signal, threading, uvicorn
from studio.serving.guard import Lifecycle
from studio import serve
assert "SIGBREAK" in serve.END_SIGNALS
serve.END_SIGNALS = frozenset({"SIGUSR1"})
begun = threading.Event()
server = serve.StudioServer(uvicorn.Config(lambda: None), Lifecycle(), lambda seconds: None, on_drain=begun.set)
with server.capture_signals():
    signal.raise_signal(signal.SIGUSR1)
    assert begun.is_set()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs a signal to spare")
def test_ctrl_break_ends_the_studio_gently() -> None:
    """In a process of its own: whatever else listens to signals in this one has no part in it."""
    done = subprocess.run([sys.executable, "-c", END_BY_SIGNAL], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_page_of_characters_that_lacks_one_stops_no_output() -> None:
    """Windows gives a pipe the characters of one code page."""
    environment = {**os.environ, "PYTHONIOENCODING": "cp437", "PYTHONUTF8": "0"}
    code = "import sys; from studio.cli import main; sys.argv = ['easel', '--version']\n"
    code += "try: main()\nexcept SystemExit: pass\nprint('\\u201cembedded\\u201d \\u2192')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"?embedded? ?" in done.stdout


def test_git_changes_no_line_ends_of_files_that_are_hashed() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no checkout")
    asked = ["git", "check-attr", "eol", "--", "models/embedded/SHA256SUMS", "studio/cli.py", "run.command"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == ["lf"] * 3


def test_patterns_with_either_slash_make_the_same_folders() -> None:
    fields = {"date": "2026-11-29", "name": "a\\b/c"}
    made = {build_file_name(pattern, fields, ".png") for pattern in ("{date}/x/{name}", "{date}\\x\\{name}")}
    assert len(made) == 1
    (path,) = made
    assert path.parts[:2] == ("2026-11-29", "x")
    assert len(path.parts) == 3


def test_whose_an_image_is_follows_from_a_path_of_windows_too() -> None:
    stored = PureWindowsPath("users\\ann\\2026-11-29\\a.png").as_posix()
    assert find_path_user(PurePosixPath(stored)) == "ann"

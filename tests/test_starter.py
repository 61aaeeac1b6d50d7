"""run.py: the environment is made once and kept up to date, and the studio gets its flags; run as users run it."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECORDER = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in {failing}) exit 1;; esac
exit 0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source folder with an environment whose interpreter writes down what it is asked to do."""
    place = tmp_path / "a folder"
    (place / ".venv" / "bin").mkdir(parents=True)
    for name in ("run.py", "requirements.txt", "requirements-dev.txt", "constraints.txt", "overrides.txt"):
        shutil.copy(ROOT / name, place / name)
    (place / "app.py").write_text("")
    set_interpreter(place)
    return place


def set_interpreter(place: Path, failing: str = "nothing") -> None:
    """`failing` is a shell pattern of the calls that fail."""
    python = place / ".venv" / "bin" / "python"
    python.write_text(RECORDER.format(log=place / "calls", failing=failing))
    python.chmod(0o755)


def start(place: Path, *flags: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": os.environ["PATH"] if path is None else path}
    return subprocess.run(
        [sys.executable, str(place / "run.py"), *flags],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd=place.parent,
    )


def read_calls(place: Path) -> list[str]:
    """What the interpreter was asked since the last look."""
    log = place / "calls"
    calls = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return calls


def test_the_first_start_installs_and_every_start_gives_the_studio_its_flags(folder: Path) -> None:
    done = start(folder, "--open", "--port", "8000")
    assert (done.returncode, done.stdout) == (0, "")
    *installing, started = read_calls(folder)
    assert started == f"{folder / 'app.py'} --open --port 8000"
    packages = installing[-1]
    assert "-m uv pip install" in packages
    assert "--compile-bytecode" in packages
    assert packages.endswith(f"--requirement {folder / 'requirements.txt'}")
    assert str(folder / "overrides.txt") in packages
    assert start(folder, "--share").returncode == 0
    assert read_calls(folder) == [f"{folder / 'app.py'} --share"]


def test_an_update_of_the_requirements_is_installed_at_the_next_start(folder: Path) -> None:
    start(folder)
    read_calls(folder)
    with (folder / "constraints.txt").open("a") as file:
        file.write("\nanother==1.0\n")
    start(folder)
    assert any("pip install" in call for call in read_calls(folder))
    start(folder)
    assert not any("pip install" in call for call in read_calls(folder))


def test_setting_up_for_tests_starts_nothing_and_covers_a_plain_start(folder: Path) -> None:
    assert start(folder, "--setup", "--dev").returncode == 0
    calls = read_calls(folder)
    assert calls[-1].endswith("requirements-dev.txt")
    assert not any("app.py" in call for call in calls)
    start(folder)
    assert read_calls(folder) == [str(folder / "app.py")]


def test_a_plain_environment_gets_what_tests_need_when_they_are_set_up(folder: Path) -> None:
    start(folder)
    read_calls(folder)
    start(folder, "--setup", "--dev")
    assert read_calls(folder)[-1].endswith("requirements-dev.txt")


def test_a_failed_installation_says_so_and_is_tried_again(folder: Path) -> None:
    set_interpreter(folder, failing="*requirements.txt")
    done = start(folder)
    assert done.returncode == 1
    assert "could not be installed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not any("app.py" in call for call in read_calls(folder))
    set_interpreter(folder)
    assert start(folder).returncode == 0
    assert any("pip install" in call for call in read_calls(folder))


def test_pip_installs_where_uv_cannot_be_had(folder: Path) -> None:
    set_interpreter(folder, failing="*uv*=0.9")
    assert start(folder, path="/nowhere").returncode == 0
    calls = read_calls(folder)
    assert calls[-2].startswith("-m pip install")
    assert calls[-2].endswith(f"--requirement {folder / 'requirements.txt'}")


def test_an_environment_is_made_where_there_is_none(folder: Path) -> None:
    shutil.rmtree(folder / ".venv")
    code = (
        "import runpy, sys, pathlib; module = runpy.run_path(sys.argv[1]);"
        "module['make_environment'](pathlib.Path(sys.argv[1]).parent)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder / "run.py")], check=True, timeout=120, capture_output=True)
    python = folder / ".venv" / "bin" / "python"
    version = subprocess.check_output([python, "-c", "import sys; print(sys.version_info[:2])"], text=True)
    assert version.strip() == str(sys.version_info[:2])


def test_a_python_that_is_too_old_hands_over_or_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module = runpy.run_path(str(ROOT / "run.py"))
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module["main"]([]) == 1
    assert "Python 3.11 or newer" in capsys.readouterr().err
    newer = tmp_path / "python3.12"
    newer.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path / "handed over"}"\n')
    newer.chmod(0o755)
    assert module["main"](["--open"]) == 0
    assert (tmp_path / "handed over").read_text() == f"{ROOT / 'run.py'} --open\n"


def test_windows_has_its_interpreter_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    module = runpy.run_path(str(ROOT / "run.py"))
    folder = Path("easel")
    assert module["get_python"](folder).as_posix() == "easel/.venv/bin/python"
    monkeypatch.setattr(os, "name", "nt")
    assert module["get_python"](folder).as_posix() == "easel/.venv/Scripts/python.exe"


def test_the_starters_of_the_desktops_call_it() -> None:
    assert "run.py --open %*" in (ROOT / "run.bat").read_text()
    command = ROOT / "run.command"
    assert os.access(command, os.X_OK)
    assert 'run.py --open "$@"' in command.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C cannot be sent to one process there")
def test_where_no_process_can_be_replaced_ctrl_c_leaves_the_studio_its_time(tmp_path: Path) -> None:
    script = f"""
import pathlib, signal, sys, time
def end(*_):
    time.sleep(1)
    pathlib.Path({str(tmp_path / "ended")!r}).write_text("gently")
    sys.exit(3)
signal.signal(signal.SIGINT, end)
print("up", flush=True)
time.sleep(60)
"""
    (tmp_path / "studio.py").write_text(script)
    starter = f"import sys, run; sys.exit(run.run_to_the_end([sys.executable, {str(tmp_path / 'studio.py')!r}]))"
    process = subprocess.Popen(
        [sys.executable, "-c", starter], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 3
    process.stdout.close()
    assert (tmp_path / "ended").read_text() == "gently"

"""Set Easel up and start it, on Linux, macOS and Windows.

python run.py              makes .venv with all packages, once, and starts the studio
python run.py --open       and opens its page in the browser
python run.py --setup      makes or updates .venv and starts nothing; with --dev also what tests need
python run.py --help       all other flags, which are the studio's own

After an update of the source folder (git pull) the next start brings the packages up to date. Environment:
UV_TORCH_BACKEND=cpu installs torch without CUDA, 5 GB smaller. This file needs nothing but Python's own library.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST = (3, 11)
NEWER = ("python3.13", "python3.12", "python3.11")
INPUTS = ("requirements.txt", "requirements-dev.txt", "constraints.txt", "overrides.txt", "run.py")
STAMP = ".installed"


class SetupFailed(Exception):
    """The environment cannot be made; the text says what to do."""


def main(arguments: list[str]) -> int:
    """Set up if need be, then become the studio; returns the exit status."""
    if sys.version_info < OLDEST:
        return run_with_newer_python(arguments)
    flags = [flag for flag in arguments if flag not in ("--setup", "--dev")]
    try:
        set_up(ROOT, dev="--dev" in arguments)
    except SetupFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if "--setup" in arguments else start_studio(ROOT, flags)


def run_with_newer_python(arguments: list[str]) -> int:
    """Do the same with a newer Python of this machine."""
    for name in NEWER:
        found = shutil.which(name)
        if found:
            return subprocess.call([found, str(ROOT / "run.py"), *arguments])
    version = ".".join(str(part) for part in OLDEST)
    print(
        "Easel needs Python " + version + " or newer. Install it from https://www.python.org/downloads/"
        " (Debian, Ubuntu: apt install python3 python3-venv) and run this again.",
        file=sys.stderr,
    )
    return 1


def get_python(root: Path) -> Path:
    """The interpreter of the environment, which may not be there yet."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def set_up(root: Path, *, dev: bool = False) -> bool:
    """Bring .venv below `root` to what the requirement files ask for; returns whether there was anything to do.

    Raises:
        SetupFailed: packages cannot be installed.
    """
    wanted = hash_inputs(root)
    stamp = root / ".venv" / STAMP
    known = stamp.read_text(encoding="utf-8").split() if stamp.is_file() else []
    if wanted in known[:1] and (not dev or "dev" in known) and get_python(root).exists():
        return False
    if not get_python(root).exists():
        make_environment(root)
    install_packages(root, dev=dev)
    stamp.write_text(wanted + (" dev" if dev else ""), encoding="utf-8")
    return True


def hash_inputs(root: Path) -> str:
    """A text that changes with the files that decide what is installed."""
    digest = hashlib.sha256()
    for name in INPUTS:
        file = root / name
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()


def make_environment(root: Path) -> None:
    """Make an empty .venv, with uv where the machine has it, else with Python's own venv."""
    folder = root / ".venv"
    uv = shutil.which("uv")
    if uv and run([uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(folder)]):
        return
    make = [sys.executable, "-m", "venv", str(folder)]
    if run(make, quiet=True):
        return
    shutil.rmtree(folder, ignore_errors=True)
    if shutil.which("apt-get"):  # Debian and Ubuntu keep venv in a package of its own
        say("Installing python3-venv …")
        admin = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["sudo", "-n"]
        run([*admin, "apt-get", "update", "-q"], quiet=True)
        run([*admin, "apt-get", "install", "-yq", "python3-venv"], quiet=True)
    if not run(make):
        raise SetupFailed(
            "Python cannot make an environment here. Install its venv module (Debian, Ubuntu: sudo apt install"
            " python3-venv) and run this again."
        )


def install_packages(root: Path, *, dev: bool) -> None:
    """Install the requirements into .venv.

    Raises:
        SetupFailed: no network, no disk, or a package that cannot be built.
    """
    say("Installing packages (once; about 7 GB with CUDA, 1.5 GB with UV_TORCH_BACKEND=cpu) …")
    python = str(get_python(root))
    requirements = str(root / ("requirements-dev.txt" if dev else "requirements.txt"))
    uv = find_uv(python)
    if uv is None:
        done = run([python, "-m", "pip", "install", "--disable-pip-version-check", "--requirement", requirements])
    else:
        pins = ["--constraint", str(root / "constraints.txt"), "--override", str(root / "overrides.txt")]
        install = [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *pins]
        # basicsr imports torch while it is built; alone it would fetch a second torch for that.
        done = run([*install, "torch", "numpy", "setuptools", "wheel", "cython"]) and run(
            [*install, "--no-build-isolation-package", "basicsr", "--requirement", requirements]
        )
    if not done:
        raise SetupFailed("The packages could not be installed. Check the network and the disk, then run this again.")


def find_uv(python: str) -> list[str] | None:
    """The command of uv: that of the environment, where it is installed if it can be, else the machine's."""
    if run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv>=0.9"]):
        return [python, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else None


def start_studio(root: Path, flags: list[str]) -> int:
    """Become the studio, where the system can replace a process; else start it and wait for it."""
    command = [str(get_python(root)), str(root / "app.py"), *flags]
    os.chdir(root)
    if os.name != "nt":
        os.execv(command[0], command)
    return run_to_the_end(command)


def run_to_the_end(command: list[str]) -> int:
    """The exit status of the command. Ctrl+C reaches it too, and it takes its time to end; it is never killed here."""
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def run(command: list[str], *, quiet: bool = False) -> bool:
    """Whether the command succeeds."""
    output = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.call(command, stdout=output, stderr=output) == 0
    except OSError:
        return False


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Memory that the process keeps between layers, and gives back when it is idle."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from studio.core.allocator import keep_freed_memory
from studio.pipelines import device_memory
from studio.pipelines.device_memory import IdleRelease

ROOT = Path(__file__).parent.parent
IS_GLIBC = platform.libc_ver()[0] == "glibc"
glibc_only = pytest.mark.skipif(not IS_GLIBC, reason="only glibc has these settings")

# Starts the app up to the point where it serves, and prints what a thread then sees: page faults of 40 blocks of 32 MiB
# that are written and freed, one after the other, whether torch was there already, and torch's own setting.
PROBE = """
import ctypes, os, resource, sys, threading
import studio.cli, studio.serve, studio.wiring
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def use_blocks():
    for _ in range(40):
        block = libc.malloc(2**25)
        ctypes.memset(block, 1, 2**25)
        libc.free(block)
def report(_, **_options):
    use_blocks()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    worker = threading.Thread(target=use_blocks)
    worker.start()
    worker.join()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(faults, "torch" in sys.modules, os.environ.get("THP_MEM_ALLOC_ENABLE", "-"))
    return 0
studio.serve.run_studio = report
sys.exit(studio.cli.main(sys.argv[1:]))
"""


def start_probe(folder: Path, *flags: str) -> list[str]:
    places = {"STUDIO_OUTPUTS_DIR": str(folder / "out"), "STUDIO_LOGS_DIR": str(folder / "logs")}
    own = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "--config", str(folder / "config.json"), *flags],
        cwd=ROOT,
        env={**own, **places, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return done.stdout.split()


@pytest.mark.slow
@glibc_only
def test_a_started_studio_keeps_the_pages_that_a_layer_frees(tmp_path: Path) -> None:
    faults, torch_was_there, huge_pages = start_probe(tmp_path)
    assert int(faults) < 1000  # each block has 8192 pages
    assert (torch_was_there, huge_pages) == ("False", "1")


@pytest.mark.slow
@glibc_only
def test_the_setting_leaves_the_systems_own_way(tmp_path: Path) -> None:
    faults, _, huge_pages = start_probe(tmp_path, "--no-keep-memory")
    assert int(faults) > 40 * 8192 / 2
    assert huge_pages == "-"


def test_another_system_or_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert not keep_freed_memory()
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"  # the user's own choice stays


def test_memory_is_given_back_once_no_run_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(device_memory, "release_memory", released.set)
    idle = IdleRelease(seconds=0.05)
    with idle.postpone():
        with idle.postpone():
            pass
        assert not released.wait(0.2)  # the outer run still goes on
    assert released.wait(5)
    released.clear()
    with idle.postpone():
        pass
    idle.cancel()
    assert not released.wait(0.2)

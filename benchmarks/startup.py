"""How long until the page answers, against importing torch and diffusers and building the embedded pipeline; and as a
Hugging Face Space against here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Row
from tools.cluster_demo import find_free_port
from tools.space import write_space
from tools.space_demo import VISIT, build_command, build_environment

DEADLINE = 120.0
BASELINE = (
    "import torch, diffusers;"
    "diffusers.StableDiffusionPipeline.from_pretrained('models/embedded', use_safetensors=True, safety_checker=None)"
)


def rows() -> list[Row]:
    """Three starts each, the fastest of both counted: a cold disk cache would favour neither."""
    ours = min(_measure_page_seconds() for _ in range(3))
    bare = min(_measure_bare_seconds() for _ in range(3))
    space = _measure_space_seconds()
    return [
        Row("page answers / import torch, diffusers and build", ours / bare, 0.5, note=f"{ours:.1f} s / {bare:.1f} s"),
        Row("page answers in a simulated Space / here", space / ours, 1.5, note=f"{space:.1f} s / {ours:.1f} s"),
    ]


def _measure_bare_seconds() -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", BASELINE], check=True, capture_output=True)
    return time.perf_counter() - begin


def _measure_page_seconds() -> float:
    begin = time.perf_counter()
    with start_studio() as url, urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()
        return time.perf_counter() - begin


def _measure_space_seconds() -> float:
    """The fastest of three starts with the platform's variables, in a folder that cannot be written."""
    found: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "space", Path(name) / "home"
        home.mkdir()
        write_space(folder)
        for _ in range(3):
            port = find_free_port()
            begin = time.perf_counter()
            process = subprocess.Popen(
                build_command(folder),
                cwd=folder,
                env=build_environment(os.environ, port, home),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                headers = {**VISIT, "Accept": "text/html"}  # a program without a login would be refused
                page = urllib.request.Request(f"http://127.0.0.1:{port}/", headers=headers)
                _wait_until_up(process, page)
                found.append(time.perf_counter() - begin)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=40)
    return min(found)


@contextlib.contextmanager
def start_studio(**settings: str) -> Iterator[str]:
    """As start_studio_process; yields the URL alone."""
    with start_studio_process(None, **settings) as (url, _):
        yield url


@contextlib.contextmanager
def start_studio_process(outputs: Path | None = None, **settings: str) -> Iterator[tuple[str, int]]:
    """The real app in a process of its own on a free port; yields its URL, once it answers, and the number of the
    process. Its outputs folder is `outputs`, or an empty one; `settings` by name, as text."""
    port = find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "STUDIO_OUTPUTS_DIR": str(outputs or folder),
            "STUDIO_LOGS_DIR": str(Path(folder) / "logs"),
            **{f"STUDIO_{name.upper()}": value for name, value in settings.items()},
        }
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), "--config", str(Path(folder) / "config.json")],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}/"
            _wait_until_up(process, url)
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=40)


def _wait_until_up(process: subprocess.Popen[bytes], page: str | urllib.request.Request) -> None:
    give_up = time.monotonic() + DEADLINE
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(page, timeout=5).close()
            return
        time.sleep(0.02)
    raise RuntimeError("the studio did not come up")

"""A cluster on this machine: python -m tools.cluster_demo [--ray], or make cluster-demo [ARGS=--ray].

Two studios draw with the embedded model, one thread each, and a third in front of them has the page. Stop one of the
two while it draws, and the image comes all the same. With --ray the two are actors of a Ray cluster that is started
here, else processes that are asked over HTTP.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from studio.cluster.wire import STATE_PATH

ROOT = Path(__file__).parent.parent
READY_SECONDS = 180.0
STOP_SECONDS = 40.0


def find_free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def run_studio(folder: Path, *flags: str, port: int, threads: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A studio in a process of its own with `flags`, its images and settings in `folder`; ended with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = ("--config", f"{folder}/config.json", "--outputs-dir", f"{folder}/outputs", "--logs-dir", f"{folder}/logs")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STUDIO_")}
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), *paths, *flags],
        cwd=ROOT,
        env={**kept, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()
        process.wait()


@contextlib.contextmanager
def run_replica(folder: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A studio that draws for others, once it answers; and its address."""
    port = find_free_port()
    with run_studio(folder, "--replica", *flags, port=port) as process:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url + STATE_PATH, timeout=5).status_code == 200:
                    break
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"The studio in {folder} does not answer; see {folder}/logs/studio.log.")
            time.sleep(0.2)
        yield process, url


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A cluster on this machine.")
    parser.add_argument("--ray", action="store_true", help="let Ray start the two that draw")
    parser.add_argument("--port", type=int, default=7860, help="of the page")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="easel-cluster-") as name, contextlib.ExitStack() as running:
        if options.ray:
            cluster = "ray?replicas=2"
            print("Ray starts in half a minute; until then the studio in front draws. kill -9 a process that is called")
            print("ray::RayReplica while it draws.")
        else:
            first, one = running.enter_context(run_replica(Path(name, "first")))
            second, two = running.enter_context(run_replica(Path(name, "second")))
            cluster = f"{one},{two}"
            print(f"The machines are the processes {first.pid} and {second.pid}: kill -9 one of them while it draws.")
        front = running.enter_context(run_studio(Path(name, "front"), "--cluster", cluster, port=options.port))
        print(f"Open http://127.0.0.1:{options.port} in some seconds; Ctrl+C ends all.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            front.wait()


if __name__ == "__main__":
    main()

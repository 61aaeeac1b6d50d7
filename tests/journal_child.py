"""A studio process for test_journal: submits or takes up jobs, and kills itself with SIGKILL at a named moment.

Arguments: outputs folder, moment ("none", or the name of a function below and the how-manieth call of it), number of
jobs to submit, "stay" to wait for a line on standard input before it ends, and a prompt if it matters. Prints the ids
of its jobs, then "done".
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes import FakeBackend, open_engine, wait_until_final

from studio.core.durable_files import write_synced
from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER
from studio.engine.jobs.journal import Journal
from studio.engine.storage import outputs
from studio.library.asset_index import AssetIndex


def write_half(path: Path, data: bytes) -> None:
    """Half of the file gets to the disk."""
    path.write_bytes(data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def die_before(owner: Any, name: str, nth: int) -> None:
    """SIGKILL instead of the nth call of `owner.name`."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            if name == "write_synced" and real is write_synced:
                write_half(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(owner, name, call)


def report_line(text: str) -> None:
    """Tell the test; it has to arrive before the process dies."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


OWNERS = {
    "record_start": Journal,
    "record_intent": AssetIndex,
    "write_synced": outputs,
    "publish": outputs,
    "link": os,
    "unlink": os,
    "record_done": AssetIndex,
    "record_end": Journal,
    "render": FakeBackend,
}


def main(folder: str, moment: str, count: str, stay: str, prompt: str = "an apple") -> None:
    name, _, nth = moment.partition(":")
    backend = FakeBackend(steps=1)
    engine = open_engine(Path(folder), backend)
    if name in OWNERS:
        die_before(OWNERS[name], name, int(nth))
    jobs = []
    for number in range(int(count)):
        job = engine.submit(GenerationRequest(prompt=prompt, seed=100 * number, count=4), LOCAL_USER)
        report_line(job.id)
        jobs.append(job)
    for job in [*jobs, *(job for job in engine.jobs(LOCAL_USER) if not job.snapshot.status.is_final)]:
        if engine._job_registry.get(job.id) is not None:
            assert wait_until_final(job).status is Status.FINISHED
    report_line(f"done {len(backend.seen)}")
    if stay == "stay":
        sys.stdin.readline()
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

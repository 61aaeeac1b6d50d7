"""A studio in a process of its own, for tests that send it signals: serve_process.py FOLDER [held] [stuck]. Prints its
address, then "entered" once a job has drawn its first step. With "stuck" the job and the end of the interpreter answer
nothing, and the deadline is short.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from fakes import FakeBackend
from serving import make_studio, mount_small_page

from studio import serve
from studio.core.user import LOCAL_USER
from studio.serve import build_app, serve_app


def main() -> int:
    folder, stuck = Path(sys.argv[1]), "stuck" in sys.argv
    held = stuck or "held" in sys.argv
    backend = FakeBackend(held=True)
    studio = make_studio(folder, backend)
    if stuck:
        serve.DRAIN_SECONDS, serve.EXIT_SECONDS = 0.1, 8.0
        studio.engine.close = lambda drain=0.0: threading.Event().wait()  # type: ignore[method-assign]
        threading.Thread(target=threading.Event().wait).start()  # which the interpreter would wait for
    app = build_app(studio, lambda parent: mount_small_page(parent, studio), None)
    studio.engine.start()

    def report_entries() -> None:
        while backend.entered.acquire():
            backend.release(1)
            while not any(job.snapshot.step for job in studio.engine.list_held_jobs(LOCAL_USER)):
                time.sleep(0.01)
            sys.stdout.write("entered\n")
            sys.stdout.flush()

    def release_backend() -> None:
        app.lifecycle.draining.wait()
        if not held:  # the running job may finish, but only after the signal came
            backend.release(1000)

    for work in (report_entries, release_backend):
        threading.Thread(target=work, daemon=True).start()

    def print_address(address: str) -> None:
        sys.stdout.write(address + "\n")
        sys.stdout.flush()

    serve_app(app, studio.settings.current, studio, on_ready=print_address)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A studio in a process of its own, for tests that send it signals: serve_process.py FOLDER [held]. Prints its address,
then "entered"."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from fakes import FakeBackend
from serving import make_studio, mount_small_page

from studio.serve import build_app, serve_app


def main() -> int:
    folder, held = Path(sys.argv[1]), "held" in sys.argv
    backend = FakeBackend(held=True)
    studio = make_studio(folder, backend)
    app = build_app(studio, lambda parent: mount_small_page(parent, studio), None)
    studio.engine.start()

    def report_entries() -> None:
        while backend.entered.acquire():
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

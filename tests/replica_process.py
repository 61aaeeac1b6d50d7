"""A studio in a process of its own that draws fakes, slowly, for others: replica_process.py FOLDER SECONDS_A_STEP.
Prints its address, then a line for each pass that it begins."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from fakes import FakeBackend
from serving import make_studio, mount_small_page

from studio.serve import build_app, serve_app

STEPS = 20


def main() -> int:
    folder, pause = Path(sys.argv[1]), float(sys.argv[2])
    backend = FakeBackend(steps=STEPS)

    def slow_down(request: object, step: int) -> None:
        time.sleep(pause)

    backend.fail = slow_down
    studio = make_studio(folder, backend, replica=True)
    app = build_app(studio, lambda parent: mount_small_page(parent, studio), None)
    studio.engine.start()

    def print_line(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def report_passes() -> None:
        while backend.entered.acquire():
            print_line("pass")

    threading.Thread(target=report_passes, daemon=True).start()
    serve_app(app, studio.settings.current, studio, on_ready=print_line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Stand-ins at the real seams: a backend whose every step a test can hold, watch, or make fail."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from studio.core.events import Snapshot
from studio.core.model import Model, Sizes
from studio.core.ports import Backend, ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.settings import Settings
from studio.engine.engine import Engine
from studio.engine.jobs.job import Job
from studio.engine.lookups import Lookups
from studio.engine.settings_store import SettingsStore
from studio.library.database import Database

FAKE_MODEL = Model(id="fake", title="Fake", family="fake", sizes=Sizes(liked=((64, 64),), smallest=8))
DEADLINE = 60.0  # seconds that any test waits for anything; a machine may do other work too


def draw_fake_image(seed: int, width: int, height: int, variation: int | None = None) -> Image.Image:
    """The image that the fake always draws from that seed: one colour per 8 px tile."""
    data = hashlib.shake_128(f"{seed}/{variation}".encode()).digest(3 * ((width + 7) // 8) * ((height + 7) // 8))
    tiles = Image.frombytes("RGB", ((width + 7) // 8, (height + 7) // 8), data)
    return tiles.resize((width, height), Image.Resampling.NEAREST)


class FakeBackend:
    """A Backend that draws at once, or step by step under a test's hand.

    With `held` each step waits for one `release()`; with `asleep` it waits, as a cloud service does, until it is
    cancelled. `fail(request, step)` may return an error to raise at that step. `seen` records (request, seeds) of every
    pass, `steps_done` counts steps, `threads` the threads that rendered.
    """

    def __init__(self, *models: Model, steps: int = 4, held: bool = False, asleep: bool = False) -> None:
        self.list = models or (FAKE_MODEL,)
        self.steps = steps
        self.held = held
        self.asleep = asleep
        self.fail: Callable[[GenerationRequest, int], BaseException | None] = lambda request, step: None
        self.seen: list[tuple[GenerationRequest, tuple[ImageSeed, ...]]] = []
        self.steps_done = 0
        self.threads: set[str] = set()
        self.closed = False
        self.entered = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)

    def models(self) -> Sequence[Model]:
        return self.list

    def release(self, steps: int = 1) -> None:
        """Let the fake do that many steps more."""
        self._gate.release(steps)

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        self.seen.append((request, tuple(seeds)))
        self.threads.add(threading.current_thread().name)
        model = next(model for model in self.list if model.id == request.model)
        width, height = model.get_hires_size(request)
        ctx.report_loading(f"Loading {model.title}")
        self.entered.release()
        with ctx.phase("denoise"):
            for step in range(1, self.steps + 1):
                error = self.fail(request, step)
                if error is not None:
                    raise error
                if self.asleep:
                    ctx.sleep(DEADLINE)
                if self.held and not self._gate.acquire(timeout=DEADLINE):
                    raise TimeoutError("nobody released the fake")
                self.steps_done += 1
                ctx.report_progress(step, self.steps, lambda: draw_fake_image(seeds[0].seed, width, height))
        return [
            RenderedImage(
                image=draw_fake_image(seed.seed, width, height, seed.variation),
                seed=seed.seed,
                variation_seed=seed.variation,
            )
            for seed in seeds
        ]

    def close(self) -> None:
        self.closed = True


def open_engine(
    root: Path, *backends: Backend, grace: float = 60.0, lookups: Lookups | None = None, **settings: Any
) -> Engine:
    """A started engine on the folder `root`, with a FakeBackend unless others are given."""
    values = {"outputs_dir": root, "logs_dir": root / "logs", "default_model": "fake", **settings}
    engine = Engine(
        settings=SettingsStore(Settings(**values)),
        backends=backends or (FakeBackend(),),
        database=Database(root / "library.db"),
        lookups=lookups or Lookups(),
        grace=grace,
    )
    engine.start()
    return engine


def wait_for_snapshot(job: Job, done: Callable[[Snapshot], bool], seconds: float = DEADLINE) -> Snapshot:
    """The first snapshot of `job` that fits; fails the test when none comes in time."""
    snapshot = job.snapshot
    deadline = time.monotonic() + seconds
    while not done(snapshot):
        assert time.monotonic() < deadline, f"still {snapshot}"
        snapshot = job.wait(snapshot.version, seconds)
    return snapshot


def wait_until_final(job: Job) -> Snapshot:
    """The job's last snapshot."""
    return wait_for_snapshot(job, lambda snapshot: snapshot.status.is_final)

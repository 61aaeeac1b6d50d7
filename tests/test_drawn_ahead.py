"""Waiting jobs that are drawn together: the images of each alone, and nothing lost when one of them ends early."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import DEADLINE, FakeBackend, draw_fake_image, open_engine, wait_for_snapshot, wait_until_final
from PIL import Image

from studio.core.detailer import Detailer
from studio.core.errors import ModelBroken
from studio.core.events import Status
from studio.core.request import Axis, GenerationRequest
from studio.core.request_choices import NoiseSource
from studio.core.user import LOCAL_USER, User
from studio.engine.engine import Engine
from studio.engine.jobs.job import Job
from tests.local_models import EMBEDDED

MOST_LEVELS = 1  # of 255: a processor multiplies several images in another order than one
STEPS = (Axis(parameter="Steps", values=("5", "6")),)


class Queue:
    """An engine whose first job is held, and the jobs that wait behind it."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.backend = FakeBackend(held=True)
        self.engine: Engine = open_engine(root, self.backend, **{"batch_jobs": 4, **settings})
        self.first = self.ask(prompt="first")
        assert self.backend.entered.acquire(timeout=DEADLINE)

    def ask(self, user: User = LOCAL_USER, **fields: Any) -> Job:
        return self.engine.submit(GenerationRequest(**{"prompt": "x", "seed": 1, **fields}), user)

    def finish(self, *jobs: Job) -> None:
        self.backend.release(1000)
        for job in (self.first, *jobs):
            assert wait_until_final(job).status is Status.FINISHED

    @property
    def passes(self) -> list[list[int]]:
        """The seeds of each pass after the first."""
        return [[seed.seed for seed in seeds] for _, seeds in self.backend.seen[1:]]


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path)
    yield made
    made.backend.release(1000)
    made.engine.close()


def read_image(job: Job) -> bytes:
    [asset] = job.snapshot.assets
    assert asset.seed == asset.request.seed
    return Image.open(asset.path).tobytes()


def test_jobs_that_differ_in_their_seed_are_drawn_together(queue: Queue, tmp_path: Path) -> None:
    jobs = [queue.ask(seed=seed) for seed in range(5)]
    queue.finish(*jobs)
    assert queue.passes == [[0, 1, 2, 3], [4]]
    for seed, job in enumerate(jobs):
        assert read_image(job) == draw_fake_image(seed, 64, 64).tobytes()
        assert job.snapshot.assets[0].request == job.request
    lines = [json.loads(line) for line in (tmp_path / "logs/generation.jsonl").read_text().splitlines()]
    assert [line["pictures"] for line in lines] == [1] * 6


@pytest.mark.parametrize(
    "fields",
    [{"prompt": "y"}, {"width": 32}, {"steps": 3}, {"count": 2}, {"axes": STEPS}],
)
def test_jobs_that_differ_otherwise_are_drawn_alone(queue: Queue, fields: dict[str, Any]) -> None:
    jobs = [queue.ask(), queue.ask(**fields)]
    queue.finish(*jobs)
    assert queue.passes[0] == [1]


@pytest.mark.parametrize("fields", [{"noise_source": NoiseSource.COMFYUI}, {"detailers": (Detailer(),)}])
def test_images_that_belong_to_their_own_batch_are_drawn_alone(queue: Queue, fields: dict[str, Any]) -> None:
    queue.finish(queue.ask(seed=1, **fields), queue.ask(seed=2, **fields))
    assert queue.passes == [[1], [2]]


def test_jobs_are_drawn_one_by_one_unless_it_is_set(tmp_path: Path) -> None:
    queue = Queue(tmp_path, batch_jobs=1)
    queue.finish(queue.ask(seed=1), queue.ask(seed=2))
    assert queue.passes == [[1], [2]]
    queue.engine.close()


def test_no_user_waits_longer_for_the_jobs_of_another(queue: Queue) -> None:
    mine = [queue.ask(seed=seed) for seed in (1, 2)]
    theirs = [queue.ask(User("other"), seed=seed) for seed in (11, 12)]
    queue.finish(*mine, *theirs)
    assert queue.passes == [[1], [11], [2], [12]]


def test_a_job_that_is_stopped_while_it_waits_leaves_the_others_their_images(queue: Queue) -> None:
    jobs = [queue.ask(seed=seed) for seed in range(3)]
    queue.backend.release(4)
    assert queue.backend.entered.acquire(timeout=DEADLINE)  # the three are being drawn
    queue.engine.cancel(jobs[1].id, LOCAL_USER)
    queue.finish(jobs[0], jobs[2])
    assert jobs[1].snapshot.status is Status.CANCELLED
    assert jobs[1].snapshot.assets == ()
    assert queue.passes == [[0, 1, 2]]
    assert read_image(jobs[2]) == draw_fake_image(2, 64, 64).tobytes()


def test_the_others_are_drawn_when_the_job_they_were_drawn_with_ends_early(queue: Queue) -> None:
    jobs = [queue.ask(seed=seed) for seed in range(3)]
    queue.backend.release(4)
    assert queue.backend.entered.acquire(timeout=DEADLINE)
    queue.engine.cancel(jobs[0].id, LOCAL_USER)
    queue.finish(*jobs[1:])
    assert queue.passes == [[0, 1, 2], [1, 2]]
    assert [read_image(job) for job in jobs[1:]] == [draw_fake_image(seed, 64, 64).tobytes() for seed in (1, 2)]


def test_a_pass_that_fails_fails_its_own_job_only(queue: Queue) -> None:
    jobs = [queue.ask(seed=seed) for seed in range(2)]
    failed: list[int] = []

    def fail_once(request: GenerationRequest, step: int) -> BaseException | None:
        if request.prompt == "x" and not failed:
            failed.append(step)
            return ModelBroken("torn")
        return None

    queue.backend.fail = fail_once
    queue.finish(jobs[1])
    assert wait_until_final(jobs[0]).status is Status.FAILED
    assert read_image(jobs[1]) == draw_fake_image(1, 64, 64).tobytes()


def test_images_that_were_drawn_ahead_and_lost_are_drawn_again(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    jobs = [queue.ask(seed=seed) for seed in range(3)]
    queue.backend.release(4 + 1)
    wait_for_snapshot(jobs[0], lambda snapshot: snapshot.step == 1)
    queue.engine.close(drain=0.0)
    again = open_engine(tmp_path, FakeBackend(), batch_jobs=4)
    for seed, job in enumerate(jobs):
        found = again.job(job.id, LOCAL_USER)
        assert wait_until_final(found).status is Status.FINISHED
        assert read_image(found) == draw_fake_image(seed, 64, 64).tobytes()
    again.close()


@pytest.mark.torch
def test_a_real_model_draws_nearly_the_same_images_together_as_alone(tmp_path: Path) -> None:
    from studio.core.settings import Settings
    from studio.engine.settings_store import SettingsStore
    from studio.wiring import build_studio

    drawn: list[list[bytes]] = []
    for number, together in enumerate((1, 4)):
        folder = tmp_path / str(number)
        settings = Settings(
            outputs_dir=folder,
            logs_dir=folder / "logs",
            models_dir=EMBEDDED.parent,
            device="cpu",
            previews=False,
            accelerator="none",
            warm_up=False,
            batch_jobs=together,
        )
        engine = build_studio(SettingsStore(settings)).engine
        engine.start()
        fields = {"model": "embedded", "prompt": "a red apple", "steps": 3, "width": 64, "height": 64}
        jobs = [engine.submit(GenerationRequest(**fields, seed=seed), LOCAL_USER) for seed in range(4)]
        for job in jobs:
            wait_for_snapshot(job, lambda snapshot: snapshot.status.is_final, 200)
        drawn.append([read_image(job) for job in jobs])
        engine.close()
    alone, together = (np.array([[*image] for image in images], dtype=np.int16) for images in drawn)
    assert np.abs(alone - together).max() <= MOST_LEVELS
    assert len(set(drawn[0])) == 4

"""What a long queue and a long history cost: single steps for many jobs, and questions that do not grow with them."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeBackend, open_engine, wait_until_final
from serving import serve_studio

from studio.core.errors import JobCancelled
from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.jobs.job import Job
from studio.engine.jobs.journal import MAX_ATTEMPTS
from studio.library.database import Database

WAITING = 60
DEAD = "a process that is gone"


def add_old_jobs(folder: Path, *, queued: int = 0, finished: int = 0, user: str = LOCAL_USER.name) -> list[str]:
    """Jobs that an earlier process left in the journal; returns their ids, the oldest first."""
    database = Database(folder / "library.db")
    request = json.dumps(GenerationRequest(model="fake", prompt="a fox").to_json())
    statuses = [*[Status.FINISHED] * finished, *[Status.QUEUED] * queued]
    ids = [f"{user}{number:08x}" for number in range(len(statuses))]
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO jobs (id, user, model, request, status, created, owner) VALUES (?, ?, 'fake', ?, ?, ?, ?)",
            [(job_id, user, request, status.value, 1.0, DEAD) for job_id, status in zip(ids, statuses, strict=True)],
        )
    database.close()
    return ids


def count_statements(engine: Engine) -> list[str]:
    """The SQL statements from now on, as they are run."""
    statements: list[str] = []
    engine._database._connection.set_trace_callback(statements.append)
    return statements


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of jobs that got their place reported, each time."""
    calls: list[str] = []
    report = Job.report_position

    def count(job: Job, ahead: int, eta: float | None) -> None:
        calls.append(job.id)
        report(job, ahead, eta)

    monkeypatch.setattr(Job, "report_position", count)
    return calls


def test_a_start_takes_up_waiting_jobs_in_their_order_and_tells_each_its_place_once_or_twice(
    tmp_path: Path, reported: list[str]
) -> None:
    ids = add_old_jobs(tmp_path, queued=WAITING)
    backend = FakeBackend(held=True)
    engine = open_engine(tmp_path, backend)
    try:
        assert backend.entered.acquire(timeout=20)
        jobs = [engine.job(job_id, LOCAL_USER) for job_id in ids]
        assert [job.snapshot.ahead for job in jobs[1:]] == list(range(1, WAITING))
        assert len(reported) <= 2 * WAITING  # when they are queued, and when the first begins
    finally:
        engine.cancel_all(LOCAL_USER)
        engine.close(drain=0)


def test_stopping_all_jobs_writes_their_end_at_once(tmp_path: Path, reported: list[str]) -> None:
    ids = add_old_jobs(tmp_path, queued=WAITING)
    backend = FakeBackend(held=True)
    engine = open_engine(tmp_path, backend)
    try:
        assert backend.entered.acquire(timeout=20)
        reported.clear()
        statements = count_statements(engine)
        engine.cancel_all(LOCAL_USER)
        waited = [engine.job(job_id, LOCAL_USER).snapshot.status for job_id in ids[1:]]
        assert set(waited) == {Status.CANCELLED}
        assert sum(statement == "COMMIT" for statement in statements) <= 2  # theirs, and that of the one that ran
        assert reported == []
        assert engine.count_unfinished(LOCAL_USER) <= 1
    finally:
        engine.close(drain=0)
    again = open_engine(tmp_path)
    try:
        assert {job.snapshot.status for job in again.jobs(LOCAL_USER, WAITING)[:-1]} == {Status.CANCELLED}
    finally:
        again.close()


def test_health_counts_every_unfinished_job_of_the_caller_in_one_statement(tmp_path: Path) -> None:
    add_old_jobs(tmp_path / "outputs", finished=30)
    add_old_jobs(tmp_path / "outputs", queued=20, user="somebody else")
    with serve_studio(tmp_path, backend=FakeBackend(held=True)) as served:
        client = served.open_client()
        assert client.get("/api/image-studio/health").json()["queueLength"] == 0
        for number in range(3):
            client.post("/api/image-studio/create", json={"prompt": f"fox {number}"})
        statements = count_statements(served.studio.engine)
        assert client.get("/api/image-studio/health").json()["queueLength"] == 3
        asked = [statement for statement in statements if "count(*)" in statement]
        assert len(asked) == 1
        assert not any("SELECT *" in statement for statement in statements)
        plan = served.studio.engine._database.rows("EXPLAIN QUERY PLAN " + asked[0])
        assert ["jobs_by_status" in row["detail"] for row in plan] == [True]  # it does not walk the ended jobs


def test_a_list_keeps_its_order_where_some_jobs_are_held_and_some_are_past(tmp_path: Path) -> None:
    old = add_old_jobs(tmp_path, finished=5)
    engine = open_engine(tmp_path, FakeBackend(held=True))
    try:
        new = [engine.submit(GenerationRequest(prompt="a fox"), LOCAL_USER) for _ in range(3)]
        listed = engine.jobs(LOCAL_USER, 6)
        assert [job.id for job in listed] == [job.id for job in reversed(new)] + old[:1:-1]
        assert all(mine is theirs for mine, theirs in zip(listed, reversed(new), strict=False))
        assert all(one.created <= two.created for two, one in itertools.pairwise(listed))
    finally:
        engine.cancel_all(LOCAL_USER)
        engine.close(drain=0)


def test_a_job_that_a_stop_leaves_behind_is_not_counted_as_an_attempt(tmp_path: Path) -> None:
    go_on = threading.Event()

    class DeafBackend(FakeBackend):
        """Hears of no stop, as a thread that loads a library does."""

        def render(self, *args: Any) -> list[RenderedImage]:
            self.entered.release()
            go_on.wait(30)
            raise JobCancelled("Stopped")

    for _ in range(MAX_ATTEMPTS + 1):
        backend = DeafBackend()
        engine = open_engine(tmp_path, backend)
        if not engine.jobs(LOCAL_USER):
            engine.submit(GenerationRequest(prompt="a fox"), LOCAL_USER)
        assert backend.entered.acquire(timeout=20)
        engine.close(drain=0)
    go_on.set()
    engine = open_engine(tmp_path)
    try:
        [job] = engine.jobs(LOCAL_USER)
        assert wait_until_final(job).status is Status.FINISHED
    finally:
        engine.close()


def test_a_list_of_many_jobs_takes_as_many_statements_as_one_of_few(tmp_path: Path) -> None:
    add_old_jobs(tmp_path, finished=40)
    engine = open_engine(tmp_path)
    try:
        counts: list[int] = []
        for limit in (3, 40):
            statements = count_statements(engine)
            assert len(engine.jobs(LOCAL_USER, limit)) == limit
            counts.append(sum("FROM jobs WHERE user" in one or "job_id IN" in one for one in statements))
        assert counts == [2, 2]  # the jobs, and their images
    finally:
        engine.close()

"""Nothing accepted is lost, nothing is written twice, nothing is half written: real processes, really killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import DEADLINE, FakeBackend, draw_fake_image, open_engine, wait_until_final
from PIL import Image

from studio.core.errors import InvalidRequest, OutOfMemory, RateLimited, StudioError
from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER
from studio.engine.jobs.journal import MAX_ATTEMPTS, Journal, JournalEntry
from studio.library.database import Database
from studio.library.process_locks import ProcessLock

CHILD = Path(__file__).with_name("journal_child.py")


def start(folder, moment="none", count=2, stay="go", prompt="an apple"):
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), moment, str(count), stay, prompt],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHILD.parent.parent,
        env={"PYTHONPATH": f"{CHILD.parent.parent}:{CHILD.parent}", "PATH": "/usr/bin:/bin"},
    )


def told(process):
    """The job ids that the child was given, and how it ended."""
    out, _ = process.communicate(timeout=60)
    return re.findall(r"^[0-9a-f]{16}$", out, re.M), process.returncode, "done" in out


def check_all(folder, ids):
    """Every accepted job has its four images, each whole, each once, and nothing else lies about."""
    engine = open_engine(folder)
    try:
        jobs = engine.jobs(LOCAL_USER)
        assert set(ids) <= {job.id for job in jobs}
        for job in jobs:
            snapshot = wait_until_final(job)
            assert snapshot.status is Status.FINISHED
            assert [asset.index for asset in snapshot.assets] == [0, 1, 2, 3]
            for asset in snapshot.assets:
                assert Image.open(asset.path).tobytes() == draw_fake_image(asset.seed, 64, 64).tobytes()
        listed = {asset.path for asset in engine.assets(LOCAL_USER, limit=1000)}
        day = {path for path in folder.glob("*-*-*/*")} | set(folder.glob("*-*-*/.*"))
        assert day == listed
        assert len(listed) == 4 * len(jobs)
    finally:
        engine.close()


MOMENTS = [
    "record_start:1",
    "render:1",
    "render:3",
    "record_intent:1",
    "record_intent:6",
    "write_synced:1",
    "write_synced:3",
    "publish:2",
    "link:2",
    "unlink:2",
    "record_done:1",
    "record_done:4",
    "record_end:1",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_nothing_is_lost_torn_or_doubled(tmp_path, moment):
    ids, code, done = told(start(tmp_path, moment))
    assert code == -signal.SIGKILL
    assert not done
    assert ids
    check_all(tmp_path, ids)


@pytest.mark.parametrize("moment", ["record_done:1", "link:1"])
def test_killed_while_it_recovers_from_being_killed(tmp_path, moment):
    """Once: a job under which the studio ended three times is given up."""
    ids, code, _ = told(start(tmp_path, "publish:2"))
    assert code == -signal.SIGKILL
    assert told(start(tmp_path, moment, count=0))[1] == -signal.SIGKILL
    check_all(tmp_path, ids)


def test_two_living_processes_share_a_folder(tmp_path):
    one, two = start(tmp_path, stay="stay"), start(tmp_path, stay="stay")
    try:
        for process in (one, two):
            lines = [process.stdout.readline() for _ in range(3)]
            assert lines[-1] == "done 8\n"  # its own eight images, none of the other's
    finally:
        for process in (one, two):
            process.communicate("\n", timeout=60)
    assert (one.returncode, two.returncode) == (0, 0)
    engine = open_engine(tmp_path)
    ids = [job.id for job in engine.jobs(LOCAL_USER)]
    engine.close()
    assert len(ids) == 4
    check_all(tmp_path, ids)


def test_the_dead_ones_jobs_are_claimed_and_the_living_ones_are_not(tmp_path):
    living = start(tmp_path, stay="stay")
    try:
        while living.stdout.readline() not in ("done 8\n", ""):
            pass
        dead_ids, code, _ = told(start(tmp_path, "render:1"))
        assert code == -signal.SIGKILL
        backend = FakeBackend(steps=1)
        engine = open_engine(tmp_path, backend)
        jobs = engine.jobs(LOCAL_USER)
        assert set(dead_ids) <= {job.id for job in jobs}
        assert {wait_until_final(job).status for job in jobs} == {Status.FINISHED}
        assert len(backend.seen) == 4 * (len(jobs) - 2)  # all but the two of the living one
        engine.close()
    finally:
        living.communicate("\n", timeout=60)
    assert living.returncode == 0


def journal_on(root):
    database = Database(root / "library.db")
    return Journal(database, ProcessLock(root)), database


def entry(number, **fields):
    return JournalEntry(
        id=f"{number:016x}",
        user="local",
        model="fake",
        request=GenerationRequest(prompt=str(number)),
        status=Status.QUEUED,
        created=float(number),
        **fields,
    )


def test_claimed_jobs_keep_their_order_and_go_to_one_process_only(tmp_path):
    database = Database(tmp_path / "library.db")
    dead = ProcessLock(tmp_path)
    first = Journal(database, dead)
    for number in (3, 1, 2):
        first.add(entry(number))
    first.record_start(entry(3).id)
    one, two = journal_on(tmp_path), journal_on(tmp_path)
    assert one[0].claim() == two[0].claim() == []
    dead.release()
    assert [claimed.request.prompt for claimed in one[0].claim()] == ["3", "1", "2"]
    assert two[0].claim() == []


def test_a_job_that_kills_its_process_again_and_again_is_given_up(tmp_path):
    database = Database(tmp_path / "library.db")
    for attempt in range(MAX_ATTEMPTS + 1):
        owner = ProcessLock(tmp_path)
        journal = Journal(database, owner)
        if attempt == 0:
            journal.add(entry(1))
        else:
            claimed = journal.claim()
            assert bool(claimed) == (attempt < MAX_ATTEMPTS)
        if attempt < MAX_ATTEMPTS:
            journal.record_start(entry(1).id)
            owner.release()
    found = journal.get(entry(1).id, "local")
    assert found.status is Status.FAILED
    assert "not restarted" in found.error.message


def test_a_job_that_was_put_back_is_not_worn_out(tmp_path):
    database = Database(tmp_path / "library.db")
    for attempt in range(MAX_ATTEMPTS + 2):
        owner = ProcessLock(tmp_path)
        journal = Journal(database, owner)
        if attempt == 0:
            journal.add(entry(1))
        else:
            assert len(journal.claim()) == 1
        journal.record_start(entry(1).id)
        journal.put_back(entry(1).id)
        owner.release()


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemory("no room", hint="Smaller.", details={"requested": 3}),
        RateLimited("slow down", retry_after=2.5, hint="Wait."),
        InvalidRequest("no"),
        StudioError("what", details={"log_entry": "ab"}),
    ],
)
def test_errors_come_back_as_they_were(tmp_path, error):
    journal, _ = journal_on(tmp_path)
    journal.add(entry(1))
    journal.record_end(entry(1).id, Status.FAILED, error=error, notices=("n",), seconds=1.5)
    found = journal.get(entry(1).id, "local")
    assert (found.status, found.notices, found.seconds) == (Status.FAILED, ("n",), 1.5)
    assert type(found.error) is type(error)
    assert found.error.to_json() == error.to_json()
    assert journal.get(entry(1).id, "other") is None


def test_a_request_of_another_version_does_not_stop_the_journal(tmp_path):
    journal, database = journal_on(tmp_path)
    journal.add(entry(1))
    with database.transaction() as connection:
        connection.execute("UPDATE jobs SET request = ?", ('{"from_the_future": 1}',))
    assert journal.list_newest("local", 5)[0].request == GenerationRequest(model="fake")


def test_a_job_is_on_disk_before_submit_returns(tmp_path):
    backend = FakeBackend(held=True)
    engine = open_engine(tmp_path, backend)
    job = engine.submit(GenerationRequest(prompt="x"), LOCAL_USER)
    other = Database(tmp_path / "library.db")
    assert other.rows("SELECT id FROM jobs")[0]["id"] == job.id
    assert backend.entered.acquire(timeout=DEADLINE)
    backend.release(10)
    engine.close()
    other.close()

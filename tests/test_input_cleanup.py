"""Kept images that nothing names go after a month; whatever names one keeps it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import DEADLINE, FakeBackend, draw_fake_image, open_engine, wait_until_final

from studio.core.errors import NotFound
from studio.core.finish import Finish, Watermark
from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from studio.engine.engine import Engine
from studio.engine.storage.input_cleanup import MIN_AGE, InputCleanup

TOOL = Model(id="tool", title="Tool", family="x", tasks=frozenset({Task.REMOVE_BACKGROUND, Task.FINISH}))
MONTHS = 3 * MIN_AGE


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(tmp_path, FakeBackend(TOOL, asleep=True))
    yield opened
    opened.close(drain=1)


def kept(engine: Engine, seed: int, *, age: float = MONTHS, user: User = LOCAL_USER) -> str:
    """An image that was let in so many seconds ago."""
    name = engine.keep_image(draw_fake_image(seed, 64, 64), user).hash
    grow_old(engine, name, age)
    return name


def path_of(engine: Engine, name: str) -> Path:
    return engine.outputs_dir / ".inputs" / name[:2] / f"{name}.png"


def grow_old(engine: Engine, name: str, age: float = MONTHS) -> None:
    when = time.time() - age
    os.utime(path_of(engine, name), (when, when))


def clean(engine: Engine, min_age: float = MIN_AGE) -> int:
    return InputCleanup(engine._database, engine.outputs_dir / ".inputs").remove_unused(min_age)


def test_what_nothing_names_is_removed_once_it_is_old(engine: Engine) -> None:
    old, young = kept(engine, 1), kept(engine, 2, age=MIN_AGE / 2)
    assert clean(engine) == 1
    with pytest.raises(NotFound):
        engine.get_input(old, LOCAL_USER)
    assert engine._database.rows("SELECT 1 FROM inputs WHERE hash = ?", (old,)) == []
    assert engine.get_input(young, LOCAL_USER).hash == young
    assert kept(engine, 1, age=0) == old
    assert engine.get_kept_file(old, LOCAL_USER).is_file()


def test_the_images_of_a_job_stay_while_it_waits_and_after_it_ended(engine: Engine) -> None:
    source, logo, mask, unnamed = (kept(engine, seed) for seed in range(4))
    finish = Finish(watermark=Watermark(image=logo))
    then = (GenerationRequest(task=Task.FINISH, model="tool", finish=finish),)
    wanted = GenerationRequest(task=Task.REMOVE_BACKGROUND, model="tool", source=source, mask=mask, then=then)
    job = engine.submit(wanted, LOCAL_USER)
    for name in (source, logo, mask):
        grow_old(engine, name)
    assert clean(engine) == 1
    assert not path_of(engine, unnamed).exists()
    engine.cancel(job.id, LOCAL_USER)
    wait_until_final(job)
    for name in (source, logo, mask):
        grow_old(engine, name)
    assert clean(engine) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO recipes (request) VALUES (?)",
        "INSERT INTO recipes (history) VALUES (?)",
        "INSERT INTO chains (user, name, steps, created) VALUES ('u', 'x', ?, 0)",
        "INSERT INTO inputs (hash, user, width, height, created, history) VALUES ('x', 'u', 1, 1, 0, ?)",
        "INSERT INTO jobs (id, user, model, request, status, created, owner) VALUES ('a', 'u', '', ?, 'queued', 0, '')",
    ],
)
def test_recipes_histories_and_chains_keep_what_they_name(engine: Engine, statement: str) -> None:
    """Also one that this version cannot read, and among more rows than are read at once."""
    name = kept(engine, 1)
    with engine._database.transaction() as connection:
        for number in range(1200):
            connection.execute(
                "INSERT INTO chains (user, name, steps, created) VALUES ('u', ?, '[]', 0)", (f"filler {number}",)
            )
        connection.execute(statement, (f'[{{"field_of_another_version": "{name}"}}]',))
    assert clean(engine) == 0
    assert engine.get_kept_file(name, LOCAL_USER).is_file()


def test_what_a_page_shows_or_names_counts_as_used(engine: Engine) -> None:
    shown, named, foreign = kept(engine, 1), kept(engine, 2), kept(engine, 3)
    engine.get_kept_file(shown, LOCAL_USER)
    engine.mark_used([named, "0" * 64], LOCAL_USER)
    engine.mark_used([foreign], User("ann"))  # who has no such image
    assert clean(engine) == 1
    assert not path_of(engine, foreign).exists()


def test_an_image_is_gone_for_all_its_users_or_for_none(engine: Engine) -> None:
    name = kept(engine, 1)
    kept(engine, 1, user=User("ann"))
    engine.mark_used([name], User("ann"))
    assert clean(engine) == 0
    grow_old(engine, name)
    assert clean(engine) == 1
    assert engine._database.rows("SELECT 1 FROM inputs") == []


def test_parts_of_a_process_that_died_are_removed_and_other_files_are_not(engine: Engine) -> None:
    name = kept(engine, 1, age=0)
    part, mine = path_of(engine, name).with_name(f".{name}.png.1.2.part"), path_of(engine, name).with_name("mine.txt")
    for path in (part, mine):
        path.write_bytes(b"x")
        os.utime(path, (1, 1))
    assert clean(engine) == 0
    assert (part.exists(), mine.exists(), path_of(engine, name).exists()) == (False, True, True)


def test_a_start_looks_for_unused_images(tmp_path: Path) -> None:
    first = open_engine(tmp_path)
    name = kept(first, 1)
    path = path_of(first, name)
    first.close(drain=1)
    second = open_engine(tmp_path)
    deadline = time.monotonic() + DEADLINE
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    second.close(drain=1)
    assert not path.exists()

"""All of one user as a zip, all of one user gone, and what is old deleted by itself."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from dialect_studio import PAID, make_backend, make_png, serve_dialects
from fakes import FakeBackend, open_engine, wait_until_final
from serving import RunningStudio

from studio.core.errors import Forbidden
from studio.core.finish import Finish
from studio.core.request import GenerationRequest
from studio.core.rights import Right
from studio.core.task import Task
from studio.core.user import User
from studio.engine.api_tokens import TokenScope
from studio.engine.audit import AuditEvent, AuditLog
from studio.engine.engine import Engine
from studio.library.changes import Change
from studio.library.database import Database
from studio.library.user_rows import ANONYMOUS

API = "/api/image-studio"
ANN, BOB = User("ann"), User("bob")


def live_a_little(engine: Engine, user: User, word: str) -> None:
    """Leave traces of every kind: images, one in the trash, a paid job, an input, notes, lists, a token, a vote."""
    kept = engine.keep_image(make_png(), user)
    asked = GenerationRequest(prompt=f"{word} one", count=2)
    first, second = wait_until_final(engine.submit(asked, user)).assets
    wait_until_final(engine.submit(GenerationRequest(prompt=f"{word} paid", model=PAID.id), user))
    library = engine.asset_library
    library.change(first.id, Change(favourite=True, note=f"{word} note", tags=(f"{word}tag",)), user.name)
    collection = library.collections.create(f"{word} collection", user.name, None)
    library.change_many(Change(add_to=collection.id), user.name, ids=[first.id])
    library.change_many(Change(trash=True), user.name, ids=[second.id])
    engine.wildcards.of(user.name).save("words", f"{word} wildcard\n")
    engine.chains.save(user.name, f"{word} chain", (GenerationRequest(task=Task.FINISH, finish=Finish(width=8)),))
    engine.tokens.create(user.name, f"{word} token", TokenScope.READ)
    engine.votes.cast(user.name, "fake", "other")
    assert engine.get_input(kept.hash, user)


def dump(path: Path) -> str:
    """All that a database says, as text."""
    with sqlite3.connect(path) as connection:
        return "\n".join(connection.iterdump())


def read_tree(root: Path) -> str:
    """The names and contents of all text files below `root`."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith("library.db")]
    return "\n".join(f"{path} {path.read_bytes().decode('latin-1')}" for path in files if "logs" not in path.parts)


def test_an_export_has_all_of_one_user_and_nothing_of_others(tmp_path: Path) -> None:
    engine = open_engine(tmp_path, make_backend())
    live_a_little(engine, ANN, "ANNSWORD")
    live_a_little(engine, BOB, "BOBSWORD")
    archive = zipfile.ZipFile(io.BytesIO(b"".join(engine.export_data(ANN))))
    names = archive.namelist()
    assert archive.testzip() is None
    assert sum(name.startswith("images/") for name in names) == 3
    assert sum(name.startswith("inputs/") for name in names) == 1
    assert "wildcards/words.txt" in names
    lines = [json.loads(line) for line in archive.read("data.jsonl").decode().splitlines()]
    tables = {line["table"] for line in lines}
    assert {"assets", "jobs", "inputs", "ledger", "chains", "collections", "tags", "votes", "tokens"} <= tables
    everything = archive.read("data.jsonl").decode() + archive.read("wildcards/words.txt").decode()
    for what in ("one", "paid", "note", "tag", "collection", "wildcard", "chain", "token"):
        assert "ANNSWORD" in everything, what
        assert f"ANNSWORD{'' if what == 'tag' else ' '}{what}" in everything
    assert "BOBSWORD" not in everything
    assert "digest" not in json.dumps([line for line in lines if line["table"] == "tokens"])
    engine.close()


def test_what_is_deleted_leaves_no_trace_but_the_sums(tmp_path: Path) -> None:
    engine = open_engine(tmp_path, make_backend())
    live_a_little(engine, ANN, "ANNSWORD")
    live_a_little(engine, BOB, "BOBSWORD")
    before = engine.ledger.sum_by_provider()
    counts = engine.delete_data("ann", ANN)
    assert counts == {"images": 3, "inputs": 1, "jobs": 2, "tokens": 1}
    assert engine.assets(ANN) == []
    assert engine.jobs(ANN) == []
    assert engine.ledger.sum_by_provider() == before
    assert {line.user for line in engine.ledger.lines(None, 1)} == {ANONYMOUS, "bob"}
    assert len(engine.assets(BOB)) == 2
    assert engine.get_input(engine.keep_image(make_png(), BOB).hash, BOB)
    assert engine.delete_data("ann", ANN)["images"] == 0
    engine.close()
    text = dump(tmp_path / "library.db") + read_tree(tmp_path)
    assert "ANNSWORD" not in text
    assert "'ann'" not in text
    assert text.count("BOBSWORD") > 5


def test_what_was_noted_does_not_come_back_with_a_new_index(tmp_path: Path) -> None:
    engine = open_engine(tmp_path, make_backend())
    live_a_little(engine, ANN, "ANNSWORD")
    engine.delete_data("ann", ANN)
    engine.close()
    for path in tmp_path.glob("library.db*"):
        path.unlink()
    again = open_engine(tmp_path, make_backend())
    assert again.asset_library.replay_notes() == 0
    again.close()
    assert "ANNSWORD" not in dump(tmp_path / "library.db")


def test_a_running_job_is_stopped_first(tmp_path: Path) -> None:
    backend = FakeBackend(asleep=True)
    engine = open_engine(tmp_path, backend)
    engine.submit(GenerationRequest(prompt="a pear"), ANN)
    assert backend.entered.acquire(timeout=20)
    assert engine.delete_data("ann", ANN)["jobs"] == 1
    assert engine.jobs(ANN) == []
    engine.close()


@pytest.mark.parametrize("folder", ["studio", "users"])  # as some homes are called
def test_the_one_user_without_logins_can_go_too(tmp_path: Path, folder: str) -> None:
    root = tmp_path / folder
    root.mkdir()
    engine = open_engine(root, make_backend())
    local = User("local", denied=frozenset())
    live_a_little(engine, local, "LOCALWORD")
    live_a_little(engine, BOB, "BOBSWORD")
    engine.delete_data("local", local)
    engine.close()
    text = dump(root / "library.db") + read_tree(root)
    assert "LOCALWORD" not in text
    assert "BOBSWORD wildcard" in text


def test_nobody_deletes_for_another_without_the_right(tmp_path: Path) -> None:
    engine = open_engine(tmp_path, make_backend())
    live_a_little(engine, ANN, "ANNSWORD")
    with pytest.raises(Forbidden):
        engine.delete_data("ann", BOB)
    with pytest.raises(Forbidden):
        engine.delete_data("ann", ANN.without(Right.DELETE))
    assert len(engine.assets(ANN)) == 2
    engine.close()


def test_export_and_removal_over_http(tmp_path: Path) -> None:
    def make(served: RunningStudio, name: str) -> Any:
        client = served.open_client(name)
        assert client.post(f"{API}/create?wait=true", json={"prompt": f"{name}'s pear"}).status_code == 200
        return client

    with serve_dialects(tmp_path, users=True) as served:
        ann, bob = make(served, "ann"), make(served, "bob")
        archive = zipfile.ZipFile(io.BytesIO(ann.get(f"{API}/me/export").content))
        assert len(archive.namelist()) == 2
        assert ann.post(f"{API}/me/data/delete", json={"confirm": "yes"}).status_code == 400
        assert bob.post(f"{API}/users/ann/data/delete", json={"confirm": "ann"}).status_code == 403
        assert len(ann.get(f"{API}/jobs").json()["jobs"]) == 1
        deleted = ann.post(f"{API}/me/data/delete", json={"confirm": "ann"}).json()["deleted"]
        assert (deleted["images"], deleted["jobs"]) == (1, 1)
        assert ann.get(f"{API}/jobs").json()["jobs"] == []
        root = served.open_client("root")
        assert root.post(f"{API}/users/bob/data/delete", json={"confirm": "bob"}).json()["deleted"]["images"] == 1
        events = [entry["event"] for entry in root.get(f"{API}/audit?limit=3").json()["entries"]]
        assert events.count("data_deleted") == 2


def age_assets(root: Path, days: float, *, user: str = "ann") -> None:
    database = Database(root / "library.db")
    with database.transaction() as connection:
        connection.execute("UPDATE assets SET created = created - ? WHERE user = ?", (days * 86_400, user))
    database.close()


def test_old_images_that_are_no_favourites_go_to_the_trash(tmp_path: Path) -> None:
    engine = open_engine(tmp_path)
    kept, old = wait_until_final(engine.submit(GenerationRequest(prompt="a pear", count=2), ANN)).assets
    wait_until_final(engine.submit(GenerationRequest(prompt="a pear"), BOB))
    engine.asset_library.change(kept.id, Change(favourite=True), "ann")
    age_assets(tmp_path, 11)
    assert engine.asset_library.trash_old(0) == 0
    assert engine.asset_library.trash_old(12) == 0
    assert engine.asset_library.trash_old(10) == 1
    assert [asset.id for asset in engine.assets(ANN)] == [kept.id]
    assert engine.asset_library.get_entry(old.id, "ann").trashed
    assert len(engine.assets(BOB)) == 1
    engine.close()


def test_old_lines_of_logs_are_deleted(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.record(AuditEvent.LOGIN, "first")
    log.sweep(0)
    assert log.list_latest(5)
    log.sweep(10)
    closed = tmp_path / "audit.jsonl.1"
    assert closed.exists()
    log.record(AuditEvent.LOGIN, "second")
    os.utime(closed, (time.time() - 4 * 86_400,) * 2)
    log.sweep(10)
    assert [entry["user"] for entry in log.list_latest(5)] == ["second", "first"]
    os.utime(closed, (time.time() - 11 * 86_400,) * 2)
    log.sweep(10)
    assert [entry["user"] for entry in log.list_latest(5)] == ["second"]
    log.close()

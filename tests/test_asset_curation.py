"""What users note of their images, the trash, undoing, and getting all of it back after a crash or a lost index."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fakes import FAKE_MODEL, FakeBackend, open_engine, wait_for_snapshot, wait_until_final
from library_rows import add_asset
from serving import wait_until

from studio.core.errors import InvalidRequest, NotFound, StorageFailed
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from studio.engine.storage.index_rebuild import rebuild_index
from studio.library import trash as trash_module
from studio.library.asset_index import AssetIndex
from studio.library.asset_library import AssetLibrary
from studio.library.changes import Change
from studio.library.curation import KEPT_STEPS
from studio.library.curation_folding import fold_lines
from studio.library.curation_log import CurationLog
from studio.library.database import Database
from studio.library.uses import Use

LOCAL = LOCAL_USER.name


@pytest.fixture
def engine(tmp_path):
    opened = open_engine(tmp_path, FakeBackend(steps=1))
    yield opened
    opened.close(drain=0)


@pytest.fixture
def library(engine):
    return engine.asset_library


def make(engine, count=1, user=LOCAL_USER):
    request = GenerationRequest(prompt="a red apple", seed=1, count=count)
    return [asset.id for asset in wait_until_final(engine.submit(request, user)).assets]


def make_from(engine, source, user=LOCAL_USER):
    kept = engine.keep_asset(source, user)
    request = GenerationRequest(task=Task.IMG2IMG, model="fake", prompt="a pear", source=kept.hash, strength=0.5)
    return [asset.id for asset in wait_until_final(engine.submit(request, user)).assets]


def find(library, text="", user=LOCAL, **how):
    return {asset.id for asset in library.list_assets(text, user, **how).assets}


def read_notes(library, user=LOCAL):
    """Everything a user noted, by asset."""
    return {
        asset.id: (asset.favourite, asset.rating, asset.title, asset.note, asset.tags, asset.trashed, asset.uses)
        for trashed in (False, True)
        for asset in library.list_assets("", user, limit=500, trashed=trashed).assets
    }


def test_a_trashed_image_is_hidden_and_comes_back_where_it_was(engine, library, tmp_path):
    one, two = make(engine, 2)
    path = engine.asset(one, LOCAL_USER).path
    assert library.change_many(Change(trash=True), LOCAL, ids=[one, "unknown"])[0] == 1
    assert (find(library), find(library, trashed=True), find(library, "is:trashed")) == ({two}, {one}, {one})
    assert not path.exists()
    assert engine.asset(one, LOCAL_USER).path.read_bytes()[:4] == b"\x89PNG"
    assert engine.assets(LOCAL_USER)[0].id == two
    assert library.count_facets("", LOCAL)["task"] == [("txt2img", 1)]
    assert library.change_many(Change(trash=True), LOCAL, ids=[one])[0] == 0
    assert library.change_many(Change(restore=True), LOCAL, ids=[one])[0] == 1
    assert path.is_file()
    assert find(library) == {one, two}
    assert engine.asset(one, LOCAL_USER).path == path
    assert library.count_facets("", LOCAL)["task"] == [("txt2img", 2)]
    assert not list((tmp_path / ".trash").rglob("*.png"))


def test_a_restored_image_steps_aside_for_what_took_its_place(engine, library):
    (one,) = make(engine)
    path = engine.asset(one, LOCAL_USER).path
    library.change_many(Change(trash=True), LOCAL, ids=[one])
    path.write_bytes(b"something else")
    library.change_many(Change(restore=True), LOCAL, ids=[one])
    assert path.read_bytes() == b"something else"
    assert engine.asset(one, LOCAL_USER).path.name == f"{path.stem}-2.png"


def test_an_emptied_trash_leaves_nothing(engine, library, tmp_path):
    one, two = make(engine, 2)
    engine.get_thumbnail(one, LOCAL_USER)
    library.change(one, Change(tags=("gone",)), LOCAL)
    library.change_many(Change(trash=True), LOCAL, ids=[one])
    assert library.empty_trash(LOCAL) == 1
    assert library.empty_trash(LOCAL) == 0
    assert not [path for path in (tmp_path / ".trash").rglob("*") if path.is_file()]
    assert not list((tmp_path / ".thumbs").rglob(f"{one}*"))
    with pytest.raises(NotFound):
        engine.asset(one, LOCAL_USER)
    assert find(library, "is:trashed") == find(library, "tag:gone") == set()
    assert find(library) == {two}


def test_old_trash_is_removed_after_the_days_that_the_setting_gives(engine, library):
    old, new = make(engine, 2)
    library.change_many(Change(trash=True), LOCAL, ids=[old, new])
    with engine._database.transaction() as connection:
        connection.execute("UPDATE assets SET trashed = ? WHERE id = ?", (time.time() - 31 * 86_400, old))
    assert library.purge_trash(0) == 0
    assert library.purge_trash(30) == 1
    assert find(library, trashed=True) == {new}


def test_the_parent_of_an_image_may_be_removed(engine, library):
    (parent,) = make(engine)
    (child,) = make(engine)
    with engine._database.transaction() as connection:
        connection.execute(
            "INSERT INTO asset_parents (parent, seq) SELECT ?, seq FROM assets WHERE id = ?", (parent, child)
        )
        connection.execute(
            "UPDATE recipes SET parents = json_array(?) WHERE seq = (SELECT seq FROM assets WHERE id = ?)",
            (parent, child),
        )
    assert library.get_details(child, LOCAL).parents == (parent,)
    library.change_many(Change(trash=True), LOCAL, ids=[parent])
    assert library.get_details(child, LOCAL).parents == (parent,)
    library.empty_trash(LOCAL)
    assert library.get_details(child, LOCAL).parents == ()


def test_a_job_goes_on_when_its_source_or_its_images_are_trashed(tmp_path):
    backend = FakeBackend(steps=1, held=True)
    engine = open_engine(tmp_path, backend)
    job = engine.submit(GenerationRequest(prompt="x", seed=1, count=3), LOCAL_USER)
    backend.release(1)
    first = wait_for_snapshot(job, lambda now: len(now.assets) == 1).assets[0].id
    engine.asset_library.change_many(Change(trash=True), LOCAL, ids=[first])
    engine.asset_library.empty_trash(LOCAL)
    assert engine.library.list_settled_numbers(job.id) >= {0}
    backend.release(100)
    wait_until_final(job)
    assert len(find(engine.asset_library)) == 2
    engine.close(drain=0)


def test_a_missing_file_can_be_trashed_and_removed(engine, library):
    (one,) = make(engine)
    engine.asset(one, LOCAL_USER).path.unlink()
    library.change_many(Change(trash=True), LOCAL, ids=[one])
    assert find(library) == set()
    assert library.empty_trash(LOCAL) == 1


def test_a_move_to_another_disk_is_a_copy(engine, library, monkeypatch):
    (one,) = make(engine)
    content = engine.asset(one, LOCAL_USER).path.read_bytes()

    def refuse(old, new):
        raise OSError(18, "Invalid cross-device link")

    with monkeypatch.context() as patched:
        patched.setattr(trash_module.os, "rename", refuse)
        patched.setattr(trash_module.os, "link", lambda old, new: refuse(old, new) if ".part" not in str(old) else None)
        patched.setattr(trash_module, "publish", lambda part, target: os.replace(part, target))
        library.change_many(Change(trash=True), LOCAL, ids=[one])
    moved = engine.asset(one, LOCAL_USER).path
    assert (".trash" in moved.parts, moved.read_bytes()) == (True, content)


def test_a_full_disk_while_trashing_loses_nothing(engine, library, monkeypatch):
    one, two = make(engine, 2)

    def refuse(old, new):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(trash_module.os, "rename", refuse)
        patched.setattr(trash_module.os, "link", refuse)
        with pytest.raises(StorageFailed, match="full"):
            library.change_many(Change(trash=True), LOCAL, ids=[one, two])
    assert find(library) == {one, two}
    for asset in (one, two):
        assert engine.asset(asset, LOCAL_USER).path.is_file()
    library.change_many(Change(trash=True), LOCAL, ids=[one])
    assert find(library) == {two}


def test_bulk_steps_are_undone_in_their_order_and_once(engine, library):
    ids = make(engine, 4)
    library.change(ids[0], Change(rating=5, tags=("a",)), LOCAL)
    shelf = library.collections.create("shelf", LOCAL)
    before = read_notes(library)
    steps = [
        library.change_many(Change(favourite=True, rating=3), LOCAL, ids=ids),
        library.change_many(Change(add_tags=("b",), remove_tags=("A",), add_to=shelf.id), LOCAL, text="apple"),
        library.change_many(Change(trash=True), LOCAL, ids=ids[:2]),
    ]
    assert [changed for changed, _ in steps] == [4, 4, 2]
    assert library.collections.get(shelf.id, LOCAL).count == 2
    assert library.undo(LOCAL) == 2
    assert library.collections.get(shelf.id, LOCAL).count == 4
    assert library.undo(LOCAL, steps[1][1]) == 4
    with pytest.raises(NotFound):
        library.undo(LOCAL, steps[1][1])
    assert library.undo(LOCAL) == 4
    assert read_notes(library) == before
    assert find(library, "tag:a") == {ids[0]}
    assert library.collections.get(shelf.id, LOCAL).count == 0
    assert library.undo(LOCAL) == 1
    assert read_notes(library)[ids[0]] == (False, 0, "", "", (), False, 0)
    with pytest.raises(NotFound):
        library.undo(LOCAL)


def test_a_change_of_one_image_is_undone_like_any_other(engine, library):
    (one,) = make(engine)
    library.change(one, Change(title="Draft", note="page 4"), LOCAL)
    library.change(one, Change(title="Draft"), LOCAL)
    library.change(one, Change(title="Cover", tags=("print",)), LOCAL)
    assert library.undo(LOCAL) == 1
    assert read_notes(library)[one][2:5] == ("Draft", "page 4", ())
    assert library.undo(LOCAL) == 1
    assert find(library, "draft") == set()
    with pytest.raises(NotFound):
        library.undo(LOCAL)


def test_only_the_last_steps_are_kept(engine, library):
    (one,) = make(engine)
    tokens = [
        library.change_many(Change(rating=number % 5 + 1), LOCAL, ids=[one])[1] for number in range(KEPT_STEPS + 1)
    ]
    with pytest.raises(NotFound):
        library.undo(LOCAL, tokens[0])
    assert library.undo(LOCAL, tokens[1]) == 1


def test_nobody_undoes_or_changes_what_is_anothers(engine, library):
    (mine,) = make(engine, user=User("ann"))
    _, token = library.change_many(Change(favourite=True), "ann", ids=[mine])
    for act in (lambda: library.undo("bob"), lambda: library.undo("bob", token)):
        with pytest.raises(NotFound):
            act()
    assert library.change_many(Change(trash=True, rating=1), "bob", ids=[mine], text="")[0] == 0
    assert library.empty_trash("bob") == 0
    shelf = library.collections.create("hers", "ann")
    (his,) = make(engine, user=User("bob"))
    with pytest.raises(NotFound):
        library.change_many(Change(add_to=shelf.id), "bob", ids=[his])
    entry = library.get_entry(mine, "ann")
    assert (entry.favourite, entry.rating, entry.trashed) == (True, 0, False)


def test_a_bulk_step_over_a_query_reaches_all_that_fit_once(tmp_path):
    database = Database(tmp_path / "library.db")
    library = AssetLibrary(database, tmp_path)
    for number in range(1234):
        add_asset(database, "fox" if number % 2 else "cat", created=1.7e9 + number)
    changed, _ = library.change_many(Change(favourite=True), LOCAL, text="fox -is:favourite")
    assert changed == 617
    assert library.list_assets("is:favourite", LOCAL).total == 617
    assert library.change_many(Change(favourite=True), LOCAL, text="fox")[0] == 0
    assert library.undo(LOCAL) == 0
    assert library.undo(LOCAL) == 617
    database.close()


def test_a_bulk_step_over_a_query_leaves_out_what_arrives_meanwhile(tmp_path):
    database = Database(tmp_path / "library.db")
    library = AssetLibrary(database, tmp_path)
    there = {add_asset(database, "fox", created=1.7e9 + number) for number in range(1200)}
    stop, arrived = threading.Event(), list[str]()

    def arrive():
        while not stop.is_set():
            arrived.append(add_asset(database, "fox", created=1.8e9 + len(arrived)))

    saver = threading.Thread(target=arrive)
    saver.start()
    wait_until(lambda: arrived)
    known = len(arrived)
    changed, _ = library.change_many(Change(add_tags=("seen",)), LOCAL, text="fox")
    stop.set()
    saver.join()
    tagged = {one for seqs in library._search.iterate_all("tag:seen", LOCAL) for one in seqs}
    assert len(tagged) == changed
    assert changed >= len(there) + known
    assert library.undo(LOCAL) == changed
    assert library.list_assets("tag:seen", LOCAL).total == 0
    assert library.list_assets("fox", LOCAL).total == len(there) + len(arrived)
    database.close()


def test_searches_go_on_while_the_index_is_rebuilt(tmp_path):
    engine = open_engine(tmp_path, FakeBackend(steps=1))
    ids = make(engine, 30)
    engine.asset_library.change_many(Change(favourite=True), LOCAL, ids=ids)
    engine.close()
    for path in tmp_path.glob("library.db*"):
        path.unlink()
    database = Database(tmp_path / "library.db")
    library, stop, counts = AssetLibrary(database, tmp_path), threading.Event(), list[int]()

    def search():
        while not stop.is_set():
            page = library.list_assets("apple", LOCAL)
            assert {asset.id for asset in page.assets} <= {*ids}
            counts.append(page.total)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        searching = pool.submit(search)
        rebuild_index(AssetIndex(database, tmp_path))
        library.replay_notes()
        wait_until(lambda: searching.done() or (counts and counts[-1] == 30))
        stop.set()
        searching.result()
    assert counts == sorted(counts)
    assert library.list_assets("apple is:favourite", LOCAL).total == 30
    database.close()


def test_a_saved_search_takes_no_images(engine, library):
    (one,) = make(engine)
    saved = library.collections.create("saved", LOCAL, "apple")
    with pytest.raises(InvalidRequest):
        library.change_many(Change(add_to=saved.id), LOCAL, ids=[one])


def test_too_many_tags_are_refused_and_none_is_written(engine, library):
    (one,) = make(engine)
    library.change(one, Change(tags=tuple(map(str, range(150)))), LOCAL)
    with pytest.raises(InvalidRequest, match="200"):
        library.change_many(Change(add_tags=tuple(f"t{n}" for n in range(100))), LOCAL, ids=[one])
    assert len(library.get_entry(one, LOCAL).tags) == 150


@pytest.mark.parametrize("is_compacted", [False, True])
@pytest.mark.parametrize("user", [LOCAL_USER, User("ann/../ü")])
def test_all_that_was_noted_comes_back_with_a_new_index(tmp_path, user, is_compacted):
    model = dataclasses.replace(FAKE_MODEL, tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}))
    engine = open_engine(tmp_path, FakeBackend(model, steps=1))
    library = engine.asset_library
    ids = make(engine, 5, user)
    library.change(ids[0], Change(favourite=True, rating=4, tags=("Cat", "日本"), note="n\nm", title="T"), user.name)
    shelf = library.collections.create("shelf", user.name)
    gone = library.collections.create("gone", user.name)
    library.collections.create("found", user.name, "is:favourite")
    library.collections.change(shelf.id, user.name, name="renamed")
    library.change_many(Change(add_to=shelf.id, add_tags=("all",)), user.name, ids=ids)
    library.change_many(Change(rating=2), user.name, ids=ids[1:3])
    library.undo(user.name)
    library.change_many(Change(trash=True), user.name, ids=ids[3:])
    library.change_many(Change(restore=True), user.name, ids=ids[4:])
    library.collections.delete(gone.id, user.name)
    for use in (Use.SENT, Use.SENT, Use.DOWNLOADED):
        library.record_use(ids[1], use, user.name)
    make_from(engine, ids[1], user)
    uses = library.get_details(ids[1], user.name).use_counts
    assert uses == {"sent": 2, "downloaded": 1, "parent": 1}
    log = tmp_path / ".library" / "curation.jsonl"
    length = log.stat().st_size
    if is_compacted:
        for number in range(60):
            library.change(ids[0], Change(rating=number % 2 + 3), user.name)
        assert library.compact_notes()
        assert log.stat().st_size < length
    notes, collections = read_notes(library, user.name), library.collections.list_all(user.name)
    paths = {one: engine.asset(one, user).path for one in ids}
    engine.close()
    for path in tmp_path.glob("library.db*"):
        path.unlink()
    with (tmp_path / ".library" / "curation.jsonl").open("ab") as file:
        file.write(b'{"user": "local", "change": {"rating": 9}, "ids": []}\nno json\n{"half": ')
    database = Database(tmp_path / "library.db")
    again = open_engine_on(tmp_path, database)
    assert read_notes(again.asset_library, user.name) == notes
    assert again.asset_library.collections.list_all(user.name) == collections
    assert {one: again.asset(one, user).path for one in ids} == paths
    assert again.asset_library.get_details(ids[1], user.name).use_counts == uses
    again.asset_library.change_many(Change(restore=True), user.name, ids=ids[3:4])
    assert again.asset(ids[3], user).path.parent == paths[ids[0]].parent
    again.asset_library.change(ids[0], Change(rating=1), user.name)
    assert (tmp_path / ".library" / "curation.jsonl").read_bytes().splitlines()[-3] == b'{"half": '
    again.close(drain=0)


def test_a_log_of_any_changes_says_the_same_when_it_is_folded(tmp_path):
    """Random changes of three images and two collections, read back from the log as it is and from the folded one."""
    dice, ids = random.Random(5), ["a-0", "b-0", "i9"]
    for number in range(40):
        lines = [("local", change, dice.sample(ids, 2)) for change in draw_changes(dice, dice.randrange(60))]
        short = replay(tmp_path / f"{number}-short", ids, fold_lines(lines))
        assert replay(tmp_path / f"{number}-long", ids, lines) == short, lines


def draw_changes(dice, count):
    """Changes as a log may have them, and some that no version writes; of collections only those that there are."""
    kinds = [
        lambda: {"favourite": dice.random() < 0.5, "title": dice.choice("xyz")},
        lambda: {"rating": dice.randrange(6)},
        lambda: {"tags": dice.sample(["Cat", "cat two", "dog"], 2)},
        lambda: {"add_tags": [dice.choice(["CAT", "dog", "é", "e\u0301"])]},
        lambda: {"remove_tags": [dice.choice(["cat", "Dog", "É"])], "note": dice.choice("mn")},
        lambda: {"trashed": dice.random() < 0.5},
        lambda: {"uses": {dice.choice(["sent", "parent"]): dice.randrange(9)}},
        lambda: {"rating": 9},
        lambda: {"of a later version": 1},
    ]
    there = set()
    for _ in range(count):
        shelf = dice.choice("pq")
        if dice.random() < 0.6:
            yield dice.choice(kinds)()
        elif shelf not in there or dice.random() < 0.2:
            there.add(shelf)
            yield {"collection": {"id": shelf, "name": f"{shelf} {dice.randrange(3)}", "query": None}}
        elif dice.random() < 0.8:
            yield {dice.choice(["add_to", "remove_from"]): shelf, "rating": dice.randrange(6)}
        else:
            there.remove(shelf)
            yield {"delete_collection": shelf}


def replay(folder, ids, lines):
    """What a library of images `ids` has after a log of these lines."""
    database = Database(folder / "library.db")
    for number, one in enumerate(ids):
        add_asset(database, "x", id=one, created=1.7e9 + number, folder=int(one[0] == "i"))
    log = CurationLog(folder)
    for user, change, of in lines:
        log.append(user, [(change, of)])
    library = AssetLibrary(database, folder)
    library.replay_notes()
    found = [(one, library.get_details(one, LOCAL)) for one in ids]
    state = [(read_notes(library)[one], details.collections, details.use_counts) for one, details in found]
    names = [(one.id, one.name) for one in library.collections.list_all(LOCAL)]
    database.close()
    return state, names


def test_what_was_noted_of_a_removed_image_leaves_the_log(engine, library, tmp_path):
    one, two = make(engine, 2)
    for asset in (one, two):
        library.change(asset, Change(note=f"a secret of {asset}", tags=tuple(map(str, range(20)))), LOCAL)
        library.change(asset, Change(tags=("x",)), LOCAL)
    library.change_many(Change(trash=True), LOCAL, ids=[one])
    library.empty_trash(LOCAL)
    assert library.compact_notes()
    kept = (tmp_path / ".library" / "curation.jsonl").read_text()
    assert f"a secret of {two}" in kept
    assert f"a secret of {one}" not in kept


def test_a_log_that_would_not_become_much_shorter_stays(engine, library, tmp_path):
    (one,) = make(engine)
    assert not library.compact_notes()
    library.change(one, Change(title="once"), LOCAL)
    assert not library.compact_notes()
    assert [path.name for path in (tmp_path / ".library").iterdir()] == ["curation.jsonl"]


def test_lines_that_come_while_a_log_is_compacted_are_kept(engine, library, tmp_path):
    (one,) = make(engine)
    for number in range(20):
        library.change(one, Change(rating=number % 2 + 1), LOCAL)
    log = CurationLog(tmp_path)

    @contextlib.contextmanager
    def enter():
        log.append(LOCAL, [({"title": "late"}, [one])])
        yield

    assert log.compact(enter)
    assert [change for _, change, _ in log.read()] == [{"rating": 2}, {"title": "late"}]


def open_engine_on(folder: Path, database: Database):
    """An engine whose index was made again before anybody asks."""
    database.close()
    engine = open_engine(folder, FakeBackend(steps=1))
    rebuild_index(engine.library)
    engine.asset_library.replay_notes()
    return engine


CHILD = """
import os, signal, sys
from pathlib import Path
from studio.library import trash
from studio.library.asset_library import AssetLibrary
from studio.library.changes import Change
from studio.library.database import Database
folder, name, nth = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
owner = {"link": os, "unlink": Path, "_finish": trash, "_make_trash_path": trash, "sync_folder": trash}[name]
real, calls = getattr(owner, name), 0
def die(*args, **more):
    global calls
    calls += 1
    if calls == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **more)
setattr(owner, name, die)
library = AssetLibrary(Database(folder / "library.db"), folder)
library.change_many(Change(trash=True), "local", text="")
library.undo("local")
"""


@pytest.mark.parametrize(
    ("name", "nth"),
    [
        ("_make_trash_path", 3),
        ("link", 1),
        ("link", 150),
        ("link", 401),
        ("unlink", 2),
        ("unlink", 333),
        ("_finish", 1),
        ("_finish", 2),
        ("sync_folder", 1),
        ("link", 520),
        ("unlink", 777),
        ("_finish", 130),
        ("_finish", 640),
    ],
)
def test_file_and_row_agree_after_a_kill_at_any_moment(tmp_path, name, nth):
    database = Database(tmp_path / "library.db")
    ids = [add_asset(database, "x", path=f"day/{number}.png", created=1.7e9 + number) for number in range(500)]
    (tmp_path / "day").mkdir()
    for number in range(500):
        (tmp_path / "day" / f"{number}.png").write_bytes(str(number).encode())
    database.close()
    child = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), name, str(nth)], check=False, timeout=120)
    assert child.returncode == -signal.SIGKILL
    database = Database(tmp_path / "library.db")
    trash_module.Trash(database, tmp_path, lambda asset_id: None).settle(min_age=0)
    rows = {row["id"]: row for row in database.rows("SELECT * FROM assets")}
    assert set(rows) == set(ids)
    for number, asset_id in enumerate(ids):
        row = rows[asset_id]
        assert row["state"] in ("done", "trashed")
        assert row["path"].startswith(".trash/") is (row["state"] == "trashed")
        assert (tmp_path / row["path"]).read_bytes() == str(number).encode()
    assert len([path for path in tmp_path.rglob("*.png") if path.is_file()]) == 500
    library = AssetLibrary(database, tmp_path)
    shown = library.list_assets("", LOCAL).total
    assert shown == sum(row["state"] == "done" for row in rows.values())
    assert library.list_assets("", LOCAL, trashed=True).total == 500 - shown
    database.close()

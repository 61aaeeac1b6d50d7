"""The index tells each user of their own images, and can be made again from the images."""

from __future__ import annotations

import shutil
import sqlite3
import threading

import pytest
from fakes import DEADLINE, FakeBackend, draw_fake_image, open_engine, wait_until_final

from studio.core.errors import NotFound, StorageFailed
from studio.core.request import GenerationRequest
from studio.core.user import LOCAL_USER, User
from studio.engine.metadata.embed import EmbeddedMetadata, encode_image
from studio.engine.storage.index_rebuild import rebuild_index
from studio.library.asset_index import AssetIndex
from studio.library.database import Database

ANN, BOB = User("ann"), User("bob")


@pytest.fixture
def studio(tmp_path):
    engine = open_engine(tmp_path, FakeBackend(steps=1))
    yield engine
    engine.close(drain=0)


def make(engine, user, count=2, **fields):
    return wait_until_final(
        engine.submit(GenerationRequest(prompt="a red apple", seed=1, count=count, **fields), user)
    ).assets


def test_each_user_sees_their_own(studio):
    mine, theirs = make(studio, ANN), make(studio, BOB, 1)
    assert studio.assets(ANN) == list(reversed(mine))
    assert studio.asset(mine[0].id, ANN) == mine[0]
    for asked in (lambda: studio.asset(theirs[0].id, ANN), lambda: studio.get_thumbnail(theirs[0].id, ANN)):
        with pytest.raises(NotFound):
            asked()


def test_a_deleted_file_is_gone_from_the_lists(studio):
    first, second = make(studio, LOCAL_USER)
    first.path.unlink()
    assert studio.assets(LOCAL_USER) == [second]
    with pytest.raises(NotFound):
        studio.asset(first.id, LOCAL_USER)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_the_index_is_rebuilt_from_the_images(tmp_path, kind):
    engine = open_engine(tmp_path / "one", output_format=kind)
    made = [*make(engine, LOCAL_USER), *make(engine, User("ann/../ü"), 1)]
    engine.close()
    (tmp_path / "one" / "library.db").unlink()
    (tmp_path / "one" / "stray.png").write_bytes(b"no image")
    database = Database(tmp_path / "one" / "library.db")
    library = AssetIndex(database, tmp_path / "one")
    assert rebuild_index(library) == 3
    assert rebuild_index(library) == 0
    for asset in made:
        assert library.get(asset.id, asset.user) == asset
    database.close()


def test_a_recipe_that_lies_about_its_id_is_not_indexed(studio, tmp_path):
    recipe = {"id": "../../x-0", "job": "x", "index": 0, "created": 1.0, "seed": 1, "request": {}}
    (tmp_path / "evil.png").write_bytes(
        encode_image(draw_fake_image(1, 8, 8), "png", quality=90, carried=EmbeddedMetadata(recipe=recipe, tool="x"))
    )
    assert rebuild_index(studio.library) == 0


def test_two_files_of_one_id_are_one_image(tmp_path):
    """A copy of one of the studio's own files, made by hand."""
    engine = open_engine(tmp_path)
    (made,) = make(engine, LOCAL_USER, 1)
    engine.close()
    (tmp_path / "library.db").unlink()
    copy = made.path.with_name(f"z {made.path.name}")
    shutil.copy2(made.path, copy)
    database = Database(tmp_path / "library.db")
    library = AssetIndex(database, tmp_path)
    assert rebuild_index(library) == 1
    assert rebuild_index(library) == 0
    assert library.get(made.id, "local").path == made.path
    database.close()


def test_a_broken_library_is_set_aside_and_made_again(tmp_path):
    engine = open_engine(tmp_path)
    made = make(engine, LOCAL_USER)
    engine.close()
    for ending in ("-wal", "-shm"):
        (tmp_path / f"library.db{ending}").unlink(missing_ok=True)
    (tmp_path / "library.db").write_bytes(b"this is no database" * 1000)
    database = Database(tmp_path / "library.db")
    assert database.fresh
    assert list(tmp_path.glob("library.db.*.broken"))
    library = AssetIndex(database, tmp_path)
    rebuild_index(library)
    assert library.get(made[0].id, "local") == made[0]
    database.close()


def test_a_library_of_a_newer_studio_is_refused(tmp_path):
    Database(tmp_path / "library.db").close()
    connection = sqlite3.connect(tmp_path / "library.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageFailed, match="newer"):
        Database(tmp_path / "library.db")


def test_closing_waits_for_those_who_read(tmp_path):
    """A statement on a connection that is closed meanwhile ends the whole process."""
    database = Database(tmp_path / "library.db")
    reading, go_on, found = threading.Event(), threading.Event(), []

    def read():
        with database.read() as connection:
            reading.set()
            go_on.wait(DEADLINE)
            found.append(connection.execute("SELECT 1").fetchone()[0])

    reader, closer = threading.Thread(target=read), threading.Thread(target=database.close)
    reader.start()
    reading.wait(DEADLINE)
    closer.start()
    closer.join(0.1)
    assert closer.is_alive()
    go_on.set()
    reader.join(DEADLINE)
    closer.join(DEADLINE)
    assert found == [1]

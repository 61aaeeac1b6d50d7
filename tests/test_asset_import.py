"""Folders of other programs: shown in place and read only, followed when files move, with what users noted of them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from fakes import FakeBackend, draw_fake_image, open_engine
from foreign_images import A1111, COMFY, FORGE, make_png_with_chunks
from PIL import Image
from serving import make_studio, serve_studio, wait_until
from test_api_assets import API

from studio.core.errors import InvalidRequest, NotFound
from studio.core.user import LOCAL_USER, User
from studio.library.changes import Change
from studio.library.imports import parse_folders

LOCAL = LOCAL_USER.name


class Setup:
    """A studio with one import folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "theirs"
        self.folder.mkdir(exist_ok=True)
        self.root = folder / "outputs"
        self.engine = None
        self.setting = str(self.folder)

    def open(self):
        self.engine = open_engine(self.root, FakeBackend(steps=1), import_folders=self.setting)
        self.wait()
        return self.engine.asset_library

    @property
    def library(self):
        return self.engine.asset_library

    def wait(self) -> None:
        wait_until(lambda: all(one.state not in ("waiting", "scanning") for one in self.list()))

    def list(self):
        return self.library.imports.list_folders(LOCAL, everybody=True)

    def scan(self):
        for one in self.list():
            self.library.imports.scan(one.id)
        self.wait()

    def find(self, text: str = "", user: str = LOCAL):
        return {asset.id for asset in self.library.list_assets(text, user, limit=500).assets}

    def lose_index(self) -> None:
        self.close()
        for path in self.root.glob("library.db*"):
            path.unlink()
        self.open()

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close(drain=0)


@pytest.fixture
def setup(tmp_path):
    made = Setup(tmp_path)
    yield made
    made.close()


def write(path: Path, seed: int = 1, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make_png_with_chunks(draw_fake_image(seed, 64, 64), **({"parameters": text} if text else {})))
    return path


def list_files(folder: Path):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_files_are_shown_with_what_they_tell_and_nothing_is_written_there(setup):
    write(setup.folder / "txt2img" / "1.png", 1, A1111)
    write(setup.folder / "txt2img" / "2.png", 2, FORGE)
    write(setup.folder / "deep" / "er" / "plain.PNG", 3)
    draw_fake_image(4, 32, 48).save(setup.folder / "photo.jpg")
    os.utime(setup.folder / "photo.jpg", (1_500_000_000, 1_500_000_000))
    before = list_files(setup.folder)
    library = setup.open()
    (folder,) = setup.list()
    assert (folder.state, folder.found, folder.done, folder.error) == ("watching", 4, 4, "")
    assert len(setup.find("is:imported")) == 4
    (first,) = library.list_assets("fox source:automatic1111 lora:fur model:foxes seed:7", LOCAL).assets
    assert (first.prompt.startswith("a fox"), first.negative_prompt, first.width) == (True, "blurry", 64)
    assert len(setup.find("source:forge")) == 1
    (photo,) = library.list_assets("date:2017-07-14", LOCAL).assets
    assert (photo.source, photo.prompt) == ("Imported", "")
    assert setup.engine.asset(photo.id, LOCAL_USER).path == setup.folder / "photo.jpg"
    assert setup.engine.get_thumbnail(photo.id, LOCAL_USER).is_relative_to(setup.root)
    assert setup.engine.keep_asset(first.id, LOCAL_USER).asset == first.id
    library.change_many(Change(trash=True, add_tags=("x",)), LOCAL, text="fox")
    library.empty_trash(LOCAL)
    assert list_files(setup.folder) == before
    setup.scan()
    assert len(setup.find()) == 2, "what was removed for good does not come back with the next scan"


def test_a_second_scan_reads_no_file_again(setup, monkeypatch):
    for number in range(5):
        write(setup.folder / f"{number}.png", number, A1111)
    library = setup.open()
    read = []
    monkeypatch.setattr(library.imports, "_read", lambda path: read.append(path))
    setup.scan()
    assert (read, len(setup.find())) == ([], 5)


def test_moved_files_keep_what_was_noted_and_gone_ones_leave_no_ghosts(setup):
    moved, gone = write(setup.folder / "a.png", 1, A1111), write(setup.folder / "b.png", 2, A1111)
    library = setup.open()
    ids = {asset.id: asset for asset in library.list_assets("", LOCAL).assets}
    by_path = {setup.engine.asset(one, LOCAL_USER).path.name: one for one in ids}
    library.change_many(Change(add_tags=("kept",), favourite=True), LOCAL, ids=list(ids))
    (setup.folder / "new").mkdir()
    moved.rename(setup.folder / "new" / "c.png")
    gone.unlink()
    setup.scan()
    assert setup.find() == setup.find("tag:kept is:favourite") == {by_path["a.png"]}
    assert setup.engine.asset(by_path["a.png"], LOCAL_USER).path == setup.folder / "new" / "c.png"
    assert library.count_facets("", LOCAL)["tag"] == [("kept", 1)]
    write(setup.folder / "b.png", 2, A1111)
    setup.scan()
    assert setup.find("tag:kept") == set(ids)


def test_a_file_that_was_overwritten_is_read_again_under_its_id(setup):
    path = write(setup.folder / "a.png", 1, A1111)
    library = setup.open()
    (one,) = setup.find()
    library.change(one, Change(tags=("kept",)), LOCAL)
    write(path, 2, A1111.replace("a fox", "a badger"))
    setup.scan()
    assert setup.find("badger tag:kept") == {one}
    assert setup.find("fox -badger") == set()


def test_a_disk_that_is_not_there_takes_nothing_away(setup):
    write(setup.folder / "a.png", 1, A1111)
    setup.open()
    setup.folder.rename(setup.folder.with_name("unplugged"))
    setup.scan()
    (folder,) = setup.list()
    assert (folder.state, len(setup.find())) == ("offline", 1)
    assert folder.error
    setup.folder.with_name("unplugged").rename(setup.folder)
    setup.scan()
    assert (setup.list()[0].state, len(setup.find())) == ("watching", 1)


def test_a_folder_that_is_no_longer_set_is_hidden_until_it_is_again(setup):
    write(setup.folder / "a.png", 1, A1111)
    library = setup.open()
    (one,) = setup.find()
    library.change(one, Change(rating=5), LOCAL)
    setup.close()
    setup.setting = ""
    setup.open()
    assert setup.find() == set()
    setup.close()
    setup.setting = str(setup.folder)
    setup.open()
    assert setup.find("rating:5") == {one}


def test_what_was_noted_of_imported_files_comes_back_with_a_new_index(setup):
    write(setup.folder / "a.png", 1, A1111)
    write(setup.folder / "b.png", 2, A1111)
    library = setup.open()
    one, two = sorted(setup.find())
    library.change(one, Change(tags=("kept",), rating=3), LOCAL)
    library.change_many(Change(trash=True), LOCAL, ids=[two])
    setup.lose_index()
    assert setup.find("tag:kept rating:3") == setup.find() == {one}
    assert setup.find("is:trashed") == {two}
    setup.library.empty_trash(LOCAL)
    setup.lose_index()
    assert setup.find("tag:kept rating:3") == setup.find() == {one}
    assert setup.find("is:trashed") == set()


def test_hostile_and_odd_files_are_left_out(setup):
    write(setup.folder / "good.png", 1, A1111)
    (setup.folder / "empty.png").touch()
    (setup.folder / "page.png").write_text("<html><script>alert(1)</script>")
    (setup.folder / "clip.png").write_bytes(b"\0\0\0\x18ftypisom" + b"\0" * 100)
    (setup.folder / "cut.png").write_bytes((setup.folder / "good.png").read_bytes()[:20])
    (setup.folder / ".hidden.png").write_bytes((setup.folder / "good.png").read_bytes())
    (setup.folder / "loop").symlink_to(setup.folder)
    (setup.folder / "link.png").symlink_to("/etc/passwd")
    (setup.folder / "secret.png").symlink_to(setup.root / "library.db")
    os.mkfifo(setup.folder / "pipe.png")
    with open(os.path.join(os.fsencode(setup.folder), b"\xff\xfe.png"), "wb") as file:
        file.write((setup.folder / "good.png").read_bytes())
    write(setup.folder / "new\nline.png", 5, A1111)
    write(setup.folder / "long.png", 6, "word " * 190_000 + "\nSteps: 1, Seed: 1")
    library = setup.open()
    assert setup.list()[0].state == "watching"
    names = {setup.engine.asset(one, LOCAL_USER).path.name for one in setup.find()}
    assert names == {"good.png", "new\nline.png", "long.png"}
    assert len(library.list_assets("word", LOCAL).assets) == 1


def test_copies_of_one_file_are_two_assets(setup):
    first = write(setup.folder / "a.png", 1, A1111)
    shutil.copy2(first, setup.folder / "b.png")
    setup.open()
    assert len(setup.find()) == 2
    setup.scan()
    assert len(setup.find()) == 2


def test_two_users_may_import_one_folder(setup):
    write(setup.folder / "a.png", 1, A1111)
    setup.setting = f"ann={setup.folder}|bob={setup.folder}"
    library = setup.open()
    (hers,), (his,) = setup.find(user="ann"), setup.find(user="bob")
    assert hers != his
    library.change(hers, Change(note="hers alone"), "ann")
    assert library.get_entry(his, "bob").note == ""
    for stranger, one in (("ann", his), ("bob", hers)):
        with pytest.raises(NotFound):
            library.get_entry(one, stranger)


def test_boards_of_invokeai_become_collections(setup):
    images = setup.folder / "outputs" / "images"
    for number in range(4):
        write(images / f"{number}.png", number, A1111)
        write(images / "thumbnails" / f"{number}.png", number)
    (setup.folder / "databases").mkdir()
    with sqlite3.connect(setup.folder / "databases" / "invokeai.db") as connection:
        connection.executescript(
            "CREATE TABLE boards (board_id TEXT, board_name TEXT);"
            "CREATE TABLE board_images (board_id TEXT, image_name TEXT);"
            "CREATE TABLE images (image_name TEXT, starred BOOLEAN, is_intermediate BOOLEAN);"
            "INSERT INTO boards VALUES ('1', 'Castles'), ('2', 'Empty');"
            "INSERT INTO board_images VALUES ('1', '0.png'), ('1', '1.png');"
            "INSERT INTO images VALUES ('0.png', 1, 0), ('1.png', 0, 0), ('2.png', 0, 0), ('3.png', 0, 1);"
        )
    connection.close()
    before = list_files(setup.folder)
    setup.setting = str(images)
    library = setup.open()
    assert len(setup.find()) == 3
    assert len(setup.find("collection:castles")) == 2
    assert len(setup.find("is:favourite")) == 1
    assert [(one.name, one.count) for one in library.collections.list_all(LOCAL)] == [("Castles", 2)]
    assert list_files(setup.folder) == before


def test_a_comfyui_graph_is_read(setup):
    setup.folder.joinpath("c.png").write_bytes(
        make_png_with_chunks(draw_fake_image(1, 64, 64), prompt=json.dumps(COMFY))
    )
    setup.open()
    assert len(setup.find("fox source:comfyui model:foxes seed:7 lora:fur")) == 1


def test_a_scan_is_cancelled_and_taken_up_again(setup, monkeypatch):
    for number in range(450):
        write(setup.folder / f"{number:03}.png", number % 7, A1111)
    setup.open()
    (folder,) = setup.list()
    shutil.rmtree(setup.folder)
    setup.folder.mkdir()
    setup.scan()
    for number in range(450):
        write(setup.folder / f"x{number:03}.png", number % 7 + 10, A1111)
    imports, real = setup.library.imports, setup.library.imports._read

    def read_and_cancel(path):
        imports.cancel(folder.id)
        return real(path)

    monkeypatch.setattr(imports, "_read", read_and_cancel)
    setup.scan()
    (cancelled,) = setup.list()
    assert cancelled.state == "cancelled"
    assert 0 < len(setup.find()) < 450
    monkeypatch.setattr(imports, "_read", real)
    setup.scan()
    assert (setup.list()[0].state, len(setup.find())) == ("watching", 450)


def test_new_files_are_seen_without_being_asked_for(setup, monkeypatch):
    write(setup.folder / "a.png", 1, A1111)
    setup.open()
    write(setup.folder / "sub" / "b.png", 2, A1111)
    setup.library.imports._look_for_changes()
    setup.wait()
    assert len(setup.find()) == 2


def test_two_processes_do_not_import_a_folder_at_once(setup, tmp_path):
    for number in range(30):
        write(setup.folder / f"{number}.png", number, A1111)
    library = setup.open()
    other = open_engine(setup.root, FakeBackend(steps=1), import_folders=setup.setting)
    wait_until(lambda: other.asset_library.imports.list_folders(LOCAL)[0].state == "watching")
    assert len(setup.find()) == 30
    assert {asset.id for asset in other.asset_library.list_assets("", LOCAL, limit=500).assets} == setup.find()
    other.close(drain=0)
    assert library.list_assets("", LOCAL).total == 30


def test_the_setting_names_users_and_folders(tmp_path):
    text = f"{tmp_path}/a | ann={tmp_path}/b=c|"
    assert parse_folders(text) == [(LOCAL, tmp_path / "a"), ("ann", tmp_path / "b=c")]
    assert parse_folders("") == []
    with pytest.raises(InvalidRequest):
        parse_folders("relative/folder")


def test_users_see_their_own_folders_and_only_administrators_scan(tmp_path):
    for name in ("ann", "bob"):
        write(tmp_path / name / "same.png", 1, A1111)
    setting = "|".join(f"{name}={tmp_path / name}" for name in ("ann", "bob"))
    with serve_studio(tmp_path / "studio", users=True, import_folders=setting) as served:
        ann, bob, root = (served.open_client(name) for name in ("ann", "bob", "root"))
        wait_until(lambda: all(one["state"] == "watching" for one in root.get(f"{API}/imports").json()["folders"]))
        (hers,) = ann.get(f"{API}/imports").json()["folders"]
        assert (hers["path"], hers["program"], hers["found"]) == (str(tmp_path / "ann"), "AUTOMATIC1111", 1)
        assert len(root.get(f"{API}/imports").json()["folders"]) == 2
        (asset,) = ann.get(f"{API}/assets").json()["assets"]
        (his,) = bob.get(f"{API}/assets").json()["assets"]
        assert asset["id"] != his["id"]
        assert ann.get(asset["url"]).content == (tmp_path / "ann" / "same.png").read_bytes()
        assert Image.open(served.studio.engine.get_thumbnail(asset["id"], User("ann"))).size == (64, 64)
        assert ann.get(his["url"]).status_code == ann.get(f"{API}/assets/{his['id']}").status_code == 404
        for act in ("scan", "cancel"):
            assert ann.post(f"{API}/imports/{hers['id']}/{act}").status_code == 403
            assert root.post(f"{API}/imports/{hers['id']}/{act}").status_code == 202
            assert root.post(f"{API}/imports/99/{act}").status_code == 404
        (tmp_path / "ann" / "same.png").unlink()
        (tmp_path / "ann" / "same.png").symlink_to(tmp_path / "studio" / "users.json")
        assert ann.get(asset["url"]).status_code == 404


def test_folders_cannot_be_set_on_the_page(tmp_path):
    from studio.tabs.configurations.settings_form import _list_fields

    assert "import_folders" not in {field.name for field in _list_fields()}
    assert make_studio(tmp_path, FakeBackend(), import_folders="/x").settings.current.import_folders == "/x"

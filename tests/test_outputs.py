"""Images are whole, named safely, never twice, and a disk that fails leaves nothing behind, whichever call it fails
at."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path, PurePosixPath

import pytest
from fakes import draw_fake_image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from studio.core.durable_files import replace_synced, sync_folder
from studio.core.errors import StorageFailed
from studio.core.image_gate import ImageLimits
from studio.core.request import GenerationRequest
from studio.core.result import Asset, RenderedImage
from studio.core.settings import Settings
from studio.engine.audit import AuditLog
from studio.engine.metadata.embed import read_metadata
from studio.engine.moderation import Moderation
from studio.engine.storage import outputs as outputs_module
from studio.engine.storage.file_names import MAX_PART_BYTES, build_file_name, find_path_user, get_user_folder
from studio.engine.storage.outputs import Outputs
from studio.library.asset_index import AssetIndex
from studio.library.database import Database
from studio.library.held_images import HeldImages

FIELDS = {"model": "sdxl/base", "sampler": "DPM++ 2M", "steps": "20"}


def asset(index=0, user="local", prompt="a red apple", job="ab12"):
    return Asset(
        id=f"{job}-{index}",
        job_id=job,
        user=user,
        index=index,
        path=Path(),
        width=64,
        height=48,
        seed=7 + index,
        created=1_700_000_000.0,
        request=GenerationRequest(prompt=prompt, seed=7 + index),
        infotext="a red apple\nSteps: 20",
    )


def open_outputs(root, library, database):
    """Outputs without any filter."""
    moderation = Moderation(None, AuditLog(root / "logs"))
    return Outputs(root, library, tool="Easel 1", moderation=moderation, held=HeldImages(database, root))


class Folder:
    """Outputs on a temporary folder."""

    def __init__(self, root):
        self.root = root
        self.database = Database(root / "library.db")
        self.library = AssetIndex(self.database, root)
        self.outputs = open_outputs(root, self.library, self.database)

    def save(self, made, **settings):
        return self.outputs.save(
            made, RenderedImage(image=draw_fake_image(made.seed, made.width, made.height)), FIELDS, Settings(**settings)
        )

    def images(self):
        return sorted(
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_file() and not re.match(r"library\.db|\.thumbs|\.owners", str(path.relative_to(self.root)))
        )


@pytest.fixture
def folder(tmp_path):
    opened = Folder(tmp_path)
    yield opened
    opened.database.close()


def test_a_saved_image_is_where_the_pattern_says(folder):
    saved = folder.save(asset())
    assert re.fullmatch(r"2023-11-1\d/00001-7-a-red-apple\.png", str(saved.path.relative_to(folder.root)))
    assert Image.open(saved.path).tobytes() == draw_fake_image(7, 64, 48).tobytes()
    assert read_metadata(saved.path).recipe["request"] == {"prompt": "a red apple", "seed": 7}
    assert folder.library.get("ab12-0", "local") == saved


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_every_kind_is_written(folder, kind):
    saved = folder.save(asset(), output_format=kind)
    assert Image.open(saved.path).format == {"jpeg": "JPEG"}.get(kind, kind.upper())
    assert read_metadata(saved.path).infotext == "a red apple\nSteps: 20"


def test_names_fit_a_file_system_that_takes_short_ones(folder, monkeypatch):
    """Encrypted home folders take 143 bytes; 60 CJK characters have 180."""
    real = os.statvfs

    class Short:
        f_namemax = 143

    monkeypatch.setattr(os, "statvfs", lambda path: Short if str(path).startswith(str(folder.root)) else real(path))
    saved = [
        folder.save(asset(k, prompt="苹果" * 40), filename_pattern=pattern)
        for k, pattern in enumerate(
            ("{date}/{number}-{seed}-{prompt}", "{prompt}{prompt}", "{prompt}{prompt}{prompt}/{prompt}{prompt}")
        )
    ]
    saved.append(folder.save(asset(7, prompt="苹果" * 40), filename_pattern="{prompt}{prompt}"))  # the name is taken
    for one in saved:
        assert max(len(part.encode()) for part in one.path.relative_to(folder.root).parts) <= 143
        assert "苹果" in one.path.name
    monkeypatch.delattr(os, "statvfs")
    assert folder.save(asset(9, prompt="x")).path.is_file()


def test_recipe_can_be_left_out(folder):
    found = read_metadata(folder.save(asset(), embed_recipe=False).path)
    assert (found.infotext, found.recipe) == ("", None)


def test_numbers_go_on_and_never_overwrite(folder):
    day = folder.save(asset(0)).path.parent
    (day / "00002-8-a-red-apple.png").write_bytes(b"mine")
    (day / "00041-x.png").write_bytes(b"mine")
    other = open_outputs(folder.root, folder.library, folder.database)
    again = folder.save(asset(1)).path
    elsewhere = other.save(asset(2), RenderedImage(image=draw_fake_image(1, 64, 48)), FIELDS, Settings()).path
    assert (again.name[:5], elsewhere.name[:5]) == ("00003", "00042")
    assert (day / "00002-8-a-red-apple.png").read_bytes() == b"mine"


def test_a_pattern_without_number_steps_aside(folder):
    paths = [folder.save(asset(k), filename_pattern="fixed").path.name for k in range(3)]
    assert paths == ["fixed.png", "fixed-2.png", "fixed-3.png"]


def test_a_foreign_file_is_not_overwritten(folder):
    (folder.root / "fixed.png").write_bytes(b"mine")
    assert folder.save(asset(), filename_pattern="fixed").path.name == "fixed-2.png"
    assert (folder.root / "fixed.png").read_bytes() == b"mine"


def test_saving_twice_writes_once(folder):
    assert folder.save(asset()) == folder.save(asset())
    assert len(folder.images()) == 1


def test_users_have_their_own_folders(folder):
    assert folder.save(asset(user="ann"), filename_pattern="x").path == folder.root / "users/ann/x.png"
    evil = folder.save(asset(1, user="../../etc/é"), filename_pattern="x").path
    assert evil.parent.parent == folder.root / "users"


@given(user=st.text(min_size=1, max_size=30))
def test_user_folders_can_be_read_back(user):
    user = user.encode("utf-8", "ignore").decode() or "x"
    assert find_path_user(get_user_folder(user) / "2024" / "x.png") == user
    assert len(get_user_folder(user).parts) in (0, 2)


@given(pattern=st.text(max_size=300), prompt=st.text(max_size=300))
def test_names_stay_inside_and_short(pattern, prompt):
    name = build_file_name(pattern + "{prompt}/{foo}{prompt}", {"prompt": prompt}, ".png")
    assert not name.is_absolute()
    assert ".." not in name.parts
    for part in name.parts:
        assert len(part.encode("utf-8", "surrogatepass")) <= MAX_PART_BYTES
        assert not part.startswith(".")
        assert not re.search(r'[<>:"|?*\\\x00-\x1f]', part)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("../../{seed}", "7.png"),
        ("/etc/passwd", "etc/passwd.png"),
        ("a/./../b", "a/b.png"),
        ("{prompt.__class__}", "{prompt.__class__}.png"),
        ("{model}/{sampler}", "sdxl-base/DPM++-2M.png"),
        ("con", "_con.png"),
        ("", "image.png"),
        ("...", "image.png"),
        ("C:\\x", "C_/x.png"),
    ],
)
def test_patterns(pattern, wanted):
    assert build_file_name(pattern, {**FIELDS, "seed": "7", "prompt": "p"}, ".png") == PurePosixPath(wanted)


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path_factory):
    (folder.root / "away").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(StorageFailed, match="points outside"):
        folder.save(asset(), filename_pattern="away/{seed}")


def test_thumbnails_are_small_and_come_back(folder):
    big = Asset(**{**asset().__dict__, "width": 1000, "height": 500})
    saved = folder.outputs.save(big, RenderedImage(image=draw_fake_image(7, 1000, 500)), FIELDS, Settings())
    thumbnail = folder.outputs.get_thumbnail(saved, ImageLimits())
    assert Image.open(thumbnail).size == (384, 192)
    thumbnail.unlink()
    assert Image.open(folder.outputs.get_thumbnail(saved, ImageLimits())).size == (384, 192)


CALLS = ("open", "write", "fsync", "link", "unlink", "mkdir")


def failing(monkeypatch, nth, code):
    """Make the nth of the calls that touch the disk fail; returns a list that holds its name once it did."""
    count, hit = [0], []

    def wrap(name):
        real = getattr(os, name)

        def call(*args, **kwargs):
            count[0] += 1
            if count[0] == nth:
                hit.append(name)
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, wrap(name))
    return hit


def attempt(folder):
    """Save one image; the error when that fails."""
    try:
        folder.save(asset(), filename_pattern="x{number}")
    except StorageFailed as error:
        return error
    return None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE])
def test_whichever_call_fails_nothing_is_torn_and_a_second_try_works(tmp_path, code):
    """SQLite's method: fail the first call, then the second, until the whole goes through."""
    for nth in range(1, 60):
        folder = Folder(tmp_path / str(nth))
        with pytest.MonkeyPatch.context() as patch:
            hit = failing(patch, nth, code)
            failure = attempt(folder)
        assert failure is None or (failure.hint and str(tmp_path) not in failure.message)
        for name in folder.images():
            assert Image.open(folder.root / name).tobytes() == draw_fake_image(7, 64, 48).tobytes(), (nth, hit)
        saved = folder.save(asset(), filename_pattern="x{number}")
        assert folder.images() == [saved.path.name], (nth, hit)
        folder.database.close()
        if not hit:
            break
    assert nth > 6
    assert not hit


def refuse(code):
    def call(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return call


LINK_ERRORS = ("EPERM", "EACCES", "EPROTO", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EIO", "EREMOTEIO")


@pytest.mark.parametrize("code", [getattr(errno, name) for name in LINK_ERRORS])
def test_a_file_system_without_hard_links(folder, monkeypatch, code):
    monkeypatch.setattr(os, "link", refuse(code))
    (folder.root / "fixed.png").write_bytes(b"mine")
    assert folder.save(asset(), filename_pattern="fixed").path.name == "fixed-2.png"
    assert folder.images() == ["fixed-2.png", "fixed.png"]


def test_a_link_that_was_made_although_an_error_came_back_is_no_second_file(folder, monkeypatch):
    link = os.link
    monkeypatch.setattr(os, "link", lambda part, path: link(part, path) or refuse(errno.EIO)())
    assert folder.save(asset(), filename_pattern="fixed").path.name == "fixed.png"
    assert folder.images() == ["fixed.png"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPROTO, errno.EIO])
def test_a_name_that_cannot_be_given_leaves_nothing_behind(folder, monkeypatch, code):
    with monkeypatch.context() as patch:
        for name in ("link", "replace"):
            patch.setattr(os, name, refuse(code))
        with pytest.raises(StorageFailed):
            folder.save(asset(), filename_pattern="fixed")
        assert folder.images() == []
    assert folder.save(asset(), filename_pattern="fixed").path.name == "fixed.png"
    assert folder.images() == ["fixed.png"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS])
def test_a_share_that_cannot_sync_folders(folder, monkeypatch, code):
    sync = os.fsync

    def sync_files_alone(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        sync(handle)

    monkeypatch.setattr(os, "fsync", sync_files_alone)
    assert folder.save(asset()).path.is_file()
    replace_synced(folder.root / "config.json", b"{}")
    assert (folder.root / "config.json").read_bytes() == b"{}"


def test_a_folder_whose_sync_fails_for_real_is_told(folder, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync_folder(folder.root)


@pytest.mark.parametrize("moment", ["before", "part", "placed", "linked", "torn"])
def test_recovery_settles_every_moment(folder, moment, monkeypatch):
    """The state that a crash leaves at each moment between the intent and its end."""

    class Crash(BaseException):
        pass

    def crash(*args):
        raise Crash

    if moment == "before":
        monkeypatch.setattr(outputs_module, "write_synced", crash)
    elif moment == "torn":
        monkeypatch.setattr(outputs_module, "write_synced", lambda path, data: path.write_bytes(data[:99]) and crash())
    elif moment == "part":
        monkeypatch.setattr(outputs_module, "publish", crash)
    elif moment == "linked":
        monkeypatch.setattr(outputs_module, "publish", lambda part, path: os.link(part, path) or crash())
    else:
        monkeypatch.setattr(folder.library, "record_done", crash)
    with pytest.raises(Crash):
        folder.save(asset(), filename_pattern="x")
    monkeypatch.undo()
    folder.outputs.recover("ab12")
    kept = moment in ("part", "placed", "linked")
    assert folder.images() == (["x.png"] if kept else [])
    assert folder.library.list_settled_numbers("ab12") == ({0} if kept else set())
    folder.save(asset(), filename_pattern="x")
    assert folder.images() == ["x.png"]

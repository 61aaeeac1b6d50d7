"""Durable writing: the old content or the new, never a part, and private files are private from the start."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from studio.core import durable_files
from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import StorageFailed
from studio.serving.users import write_private_file
from studio.social.own_formats import _replace_file


def fail_to_sync(handle: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_write_keeps_the_old_content_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    replace_synced(file, b"old")
    monkeypatch.setattr(durable_files.os, "fsync", fail_to_sync)
    with pytest.raises(StorageFailed, match="the list") as failed, translate_os_errors("the list"):
        replace_synced(file, b"new")
    assert failed.value.hint
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_private_file_is_private(tmp_path: Path) -> None:
    write_private_file(tmp_path / "new" / "users.json", b"{}")
    assert stat.S_IMODE((tmp_path / "new" / "users.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("write", [write_private_file, lambda file, data: _replace_file(file, data.decode())])
def test_users_and_formats_are_synced_before_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object
) -> None:
    file = tmp_path / "file"
    synced: list[bool] = []
    monkeypatch.setattr(durable_files.os, "fsync", lambda handle: synced.append(file.exists()))
    write(file, b"data = 1\n")  # type: ignore[operator]
    assert synced == [False, True], "the file first, then its folder"
    assert file.read_bytes() == b"data = 1\n"

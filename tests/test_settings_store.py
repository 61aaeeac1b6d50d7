"""Settings come from four places in order, survive odd files, and change as a whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest, StorageFailed
from studio.engine.settings_store import SettingsStore


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config.json"


def load(file, environment=None, flags=None):
    return SettingsStore.load(file, environment or {}, flags or {})


def test_defaults_then_file_then_environment_then_flags(file):
    file.write_text(json.dumps({"port": 1, "host": "a", "theme": "dark", "device": "cpu"}))
    store = load(file, {"STUDIO_PORT": "2", "STUDIO_HOST": "b", "STUDIO_THEME": ""}, {"port": 3, "host": None})
    settings = store.current
    assert (settings.port, settings.host, settings.theme, settings.device) == (3, "b", "dark", "cpu")
    assert store.get_overrides() == {"port": "--port", "host": "STUDIO_HOST"}
    assert store.notices == ()


def test_a_change_is_on_disk_and_comes_back(file):
    store = load(file)
    old = store.current
    store.change({"theme": "dark", "output_quality": "80", "models_dir": "weights"})
    assert old.theme == "system"
    again = load(file).current
    assert (again.theme, again.output_quality, again.models_dir) == ("dark", 80, Path("weights"))
    assert sorted(json.loads(file.read_text())) == ["models_dir", "output_quality", "theme"]
    store.change({"theme": "system"})
    assert "theme" not in json.loads(file.read_text())


@pytest.mark.parametrize(
    "values",
    [
        {"theme": "pink"},
        {"nonsense": 1},
        {"port": 99999},
        {"port": "x"},
        {"filename_pattern": "a\r\nb"},
        {"theme": "dark", "port": -1},
        {"host": "a\x00b"},
    ],
)
def test_a_wrong_value_changes_nothing(file, values):
    store = load(file)
    before = store.current
    with pytest.raises(InvalidRequest):
        store.change(values)
    assert store.current is before
    assert not file.exists()


def test_what_is_fixed_from_outside_cannot_be_changed(file):
    file.write_text(json.dumps({"port": 5}))
    store = load(file, flags={"port": 7})
    with pytest.raises(InvalidRequest, match="--port"):
        store.change({"port": 8})
    assert store.change({"port": 7, "theme": "dark"}).port == 7  # a form sends every field
    assert json.loads(file.read_text()) == {"port": 5, "theme": "dark"}


def test_unknown_entries_are_kept_aside(file):
    file.write_text(json.dumps({"from_the_future": [1], "theme": "dark"}))
    store = load(file)
    assert "from_the_future" in store.notices[0]
    store.change({"port": 8000})
    assert json.loads(file.read_text()) == {"from_the_future": [1], "theme": "dark", "port": 8000}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00\xff", "[" * 100_000])
def test_a_broken_file_is_kept_as_broken(file, text):
    file.write_bytes(text.encode("latin-1"))
    store = load(file)
    assert store.current.port == 7860
    assert "broken" in store.notices[0]
    assert (file.parent / "config.json.broken").read_bytes() == text.encode("latin-1")
    assert not file.exists()


def test_one_wrong_value_in_the_file_gives_way_to_its_default(file):
    file.write_text(json.dumps({"port": "x", "theme": "dark"}))
    store = load(file)
    assert (store.current.port, store.current.theme) == (7860, "dark")
    assert "port" in store.notices[0]


def test_a_wrong_value_from_outside_is_told_with_its_place(file):
    with pytest.raises(InvalidRequest, match="STUDIO_PORT"):
        load(file, {"STUDIO_PORT": "x"})
    with pytest.raises(InvalidRequest, match="--theme"):
        load(file, flags={"theme": "pink"})


@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(file, monkeypatch, name):
    store = load(file)
    store.change({"theme": "dark"})
    before = file.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, full)
    with pytest.raises(StorageFailed):
        store.change({"theme": "light"})
    monkeypatch.undo()
    assert store.current.theme == "dark"
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == ["config.json"]


def test_changes_from_many_threads_all_count(file):
    store = load(file)
    names = ["port", "output_quality", "max_upload_mb", "queue_limit", "session_limit"]
    threads = [threading.Thread(target=store.change, args=({name: 77},)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(getattr(load(file).current, name) == 77 for name in names)


def test_a_store_without_a_file_lives_in_memory():
    store = SettingsStore()
    assert store.change({"theme": "dark"}) is store.current

"""Plug-ins are found by their constant, and a broken one harms nobody."""

from __future__ import annotations

import sys

import pytest

from studio.engine.plugins import discover


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package named `parts`, with the files that a test writes."""
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda **files: [(folder / f"{name}.py").write_text(text) for name, text in files.items()]
    for name in [name for name in sys.modules if name.split(".")[0] == "parts"]:
        del sys.modules[name]


def test_found_in_the_order_of_names(package):
    package(b="PART = 'b'", a="PART = 'a'", helper="OTHER = 1", _hidden="PART = 'hidden'")
    assert discover("parts", "PART") == ["a", "b"]
    assert discover(sys.modules["parts"], "OTHER") == [1]


@pytest.mark.parametrize("broken", ["1 / 0", "import no_such_package_at_all", "def (", "raise RuntimeError('x')"])
def test_a_broken_file_is_logged_and_left_out(package, broken, caplog):
    package(a="PART = 'a'", b=broken, c="PART = 'c'")
    assert discover("parts", "PART") == ["a", "c"]
    assert "parts.b" in caplog.text


def test_a_missing_package_is_an_error_of_the_caller(package):
    with pytest.raises(ModuleNotFoundError):
        discover("parts.no_such", "PART")

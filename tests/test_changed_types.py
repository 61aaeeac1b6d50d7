"""Which files pyright looks at again: those that changed, and those that import them by any way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check_changed_types import compute_digests, list_files, read_cache

FILES = {
    "pyproject.toml": "[tool.pyright]\n",
    "studio/__init__.py": "",
    "studio/low.py": "WIDTH = 8\n",
    "studio/middle.py": "from studio import low\n",
    "studio/parts/__init__.py": "",
    "studio/parts/late.py": "def draw():\n    from ..middle import low\n    return low\n",
    "studio/parts/beside.py": "import studio.parts.late as late\n",
    "studio/alone.py": "import json\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("studio/low.py", "WIDTH = '8'\n", {"low.py", "middle.py", "parts/late.py", "parts/beside.py"}),
        ("studio/parts/late.py", "late = 1\n", {"parts/late.py", "parts/beside.py"}),
        ("studio/parts/beside.py", "late = 1\n", {"parts/beside.py"}),
        ("studio/alone.py", "import csv\n", {"alone.py"}),
        ("studio/parts/__init__.py", "late = 1\n", {"parts/__init__.py", "parts/beside.py"}),
    ],
)
def test_a_change_reaches_all_that_import_it(project: Path, name: str, text: str, expected: set[str]) -> None:
    before = compute_digests(project)
    (project / name).write_text(text)
    after = compute_digests(project)
    assert {each for each in after if after[each] != before[each]} == {f"studio/{each}" for each in expected}


def test_other_settings_reach_all_files(project: Path) -> None:
    before = compute_digests(project)
    (project / "pyproject.toml").write_text("[tool.pyright]\nstrict = []\n")
    after = compute_digests(project)
    assert all(after[name] != before[name] for name in before)
    assert len(before) == len(list_files(project)) == len(FILES) - 1


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_a_cache_that_cannot_be_read_is_empty(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "cache.json").write_text(text)
    assert read_cache(tmp_path / "cache.json") == {}

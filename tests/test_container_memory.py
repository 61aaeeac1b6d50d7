"""The memory limit of a container, read from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.container_memory import ContainerMemory, read_container_memory
from studio.pipelines import device_memory

GIB = 2**30


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def read(tmp_path: Path, own: str) -> ContainerMemory | None:
    (tmp_path / "own").write_text(own)
    return read_container_memory(tmp_path / "groups", tmp_path / "own")


def test_the_limit_of_a_group_counts_and_files_that_the_kernel_keeps_are_free(tmp_path: Path) -> None:
    group = tmp_path / "groups" / "box"
    stat = f"anon {2 * GIB}\ninactive_file {GIB}"
    write(group, memory__max=8 * GIB, memory__current=4 * GIB, memory__stat=stat)
    assert read(tmp_path, "0::/box\n") == ContainerMemory(limit=8 * GIB, free=5 * GIB)


def test_a_group_around_it_may_be_tighter(tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    write(groups / "all", memory__max=4 * GIB, memory__current=3 * GIB, memory__stat="")
    write(groups / "all" / "box", memory__max="max", memory__current=GIB, memory__stat="")
    write(groups / "all" / "box" / "own", memory__max=8 * GIB, memory__current=GIB)
    assert read(tmp_path, "0::/all/box/own\n") == ContainerMemory(limit=4 * GIB, free=GIB)


def test_within_a_container_its_own_group_is_the_uppermost(tmp_path: Path) -> None:
    write(tmp_path / "groups", memory__max=2 * GIB, memory__current=GIB)
    assert read(tmp_path, "0::/docker/1234\n") == ContainerMemory(limit=2 * GIB, free=GIB)


def test_the_older_version_has_other_names(tmp_path: Path) -> None:
    files = {"memory__limit_in_bytes": 8 * GIB, "memory__usage_in_bytes": 4 * GIB}
    write(tmp_path / "groups" / "memory" / "box", **files, memory__stat=f"total_inactive_file {GIB}")
    write(tmp_path / "groups" / "memory", memory__limit_in_bytes=2**63 - 4096, memory__usage_in_bytes=9 * GIB)
    own = "4:memory:/box\n3:cpuset:/\n0::/\n"
    assert read(tmp_path, own) == ContainerMemory(limit=8 * GIB, free=5 * GIB)


@pytest.mark.parametrize("own", ["0::/\n", "4:memory:/\n", ""])
def test_without_a_limit_there_is_none(tmp_path: Path, own: str) -> None:
    write(tmp_path / "groups", memory__max="max", memory__current=GIB)
    assert read(tmp_path, own) is None


def test_other_systems_have_none(tmp_path: Path) -> None:
    assert read_container_memory(tmp_path, tmp_path / "missing") is None


def test_models_get_what_the_container_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "read_container_memory", lambda: ContainerMemory(limit=1000, free=10))
    assert device_memory.read_total_and_free("cpu") == (1000, 10)
    monkeypatch.setattr(device_memory, "read_container_memory", lambda: ContainerMemory(limit=2**60, free=2**60))
    total, free = device_memory.read_total_and_free("cpu")
    assert 0 < free < total < 2**60

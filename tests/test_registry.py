"""Residency under a budget, with things that weigh what the test says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from studio.pipelines.device_memory import PeakStore
from studio.pipelines.registry import PipelineKey, PipelineRegistry

pytestmark = pytest.mark.torch


class Weight:
    """What the registry weighs: one module of `size` bytes."""

    def __init__(self, size: int) -> None:
        import torch

        self.components = {"part": torch.nn.Embedding(size // 4, 1)}


def lease(registry: PipelineRegistry, name: str, size: int = 400):
    return registry.lease(PipelineKey(name, "cpu", "float32"), name, lambda: Weight(size), expected=size)


def names(registry: PipelineRegistry) -> set[str]:
    return {one.model for one in registry.list_residents()}


def test_the_least_recently_used_leaves_first() -> None:
    registry = PipelineRegistry(lambda: 1000)
    for name in ("a", "b", "a", "c"):
        with lease(registry, name):
            pass
    assert names(registry) == {"a", "c"}
    assert registry.resident_bytes == 800


def test_one_in_use_never_leaves() -> None:
    registry = PipelineRegistry(lambda: 1000)
    with lease(registry, "a"), lease(registry, "b"), lease(registry, "c"):
        assert names(registry) == {"a", "b", "c"}
        assert not registry.evict_one()
        registry.evict("a")
        assert all(one.in_use for one in registry.list_residents())
    registry.make_room(0)
    assert len(names(registry)) == 2


def test_a_reused_pipeline_is_not_loaded_again() -> None:
    registry = PipelineRegistry(lambda: 1000)
    with lease(registry, "a") as first:
        pass
    with lease(registry, "a") as second:
        assert second.pipe is first.pipe


def test_a_failed_load_leaves_nothing() -> None:
    registry = PipelineRegistry(lambda: 1000)

    def broken() -> Weight:
        raise OSError("no such file")

    with (
        pytest.raises(OSError, match="no such file"),
        registry.lease(PipelineKey("a", "cpu", ""), "a", broken, expected=1),
    ):
        pass
    assert registry.resident_bytes == 0


def test_what_a_run_needs_besides_makes_others_leave() -> None:
    registry = PipelineRegistry(lambda: 1000)
    with lease(registry, "a"):
        pass
    with registry.lease(PipelineKey("b", "cpu", "float32"), "b", lambda: Weight(400), expected=400, working=500):
        assert names(registry) == {"b"}


def test_one_that_weighs_more_than_expected_makes_others_leave_once_it_is_loaded() -> None:
    registry = PipelineRegistry(lambda: 1000)
    with lease(registry, "a"):
        pass
    with registry.lease(PipelineKey("b", "cpu", "float32"), "b", lambda: Weight(800), expected=400):
        assert names(registry) == {"b"}
    assert registry.measure_room() == 200


def test_peaks_are_remembered_across_starts_and_scaled_by_area(tmp_path) -> None:
    path = tmp_path / "cache" / "peaks.json"
    PeakStore(path).record_peak("sd", (512, 512), 1, 1000)
    again = PeakStore(path)
    assert again.get_expected_peak("sd", 512, 512, 1) == 1000
    assert again.get_expected_peak("sd", 1024, 512, 2) == 4000
    assert again.get_expected_peak("sd", 256, 256, 1) == 0
    assert again.get_expected_peak("other", 512, 512, 1) == 0
    again.record_peak("sd", (512, 512), 1, 900)
    assert PeakStore(path).get_expected_peak("sd", 512, 512, 1) == 1000


def test_a_spoilt_memory_of_peaks_is_forgotten(tmp_path) -> None:
    path = tmp_path / "peaks.json"
    path.write_text("{ not json")
    assert PeakStore(path).get_expected_peak("sd", 512, 512, 1) == 0


def test_a_peak_that_cannot_be_written_is_known_until_the_end(tmp_path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be, as on a disk that may not be written")
    store = PeakStore(tmp_path / "cache" / "peaks.json")
    store.record_peak("sd", (512, 512), 1, 1000)
    assert store.get_expected_peak("sd", 512, 512, 1) == 1000


def test_out_of_memory_is_told_from_other_errors() -> None:
    import torch

    from studio.pipelines.device_memory import is_out_of_memory

    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.")
    )
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 must have the same dtype"))


MEASURE = """
import torch
from studio.pipelines.device_memory import _reset_high_water, measure_peak

peaks = []
if _reset_high_water():
    for size in (64 * 1024**2, 1):
        with measure_peak("cpu", peaks.append):
            torch.ones(size)
print(*peaks)
"""


def test_the_most_memory_of_a_block_is_measured() -> None:
    """In a process of its own: one that has freed much before need not ask for more."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    peaks = [int(peak) for peak in done.stdout.split()]
    if not peaks:
        pytest.skip("this system cannot measure the memory of a block")
    assert len(peaks) == 2
    assert peaks[0] - peaks[1] > 150 * 1024**2


def test_memory_is_not_reported_where_it_cannot_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.pipelines import device_memory

    monkeypatch.setattr(device_memory, "_reset_high_water", lambda: False)
    peaks: list[int] = []
    with device_memory.measure_peak("cpu", peaks.append):
        pass
    assert peaks == []

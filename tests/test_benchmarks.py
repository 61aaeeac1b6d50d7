"""What the benchmarks count and compare, where that can be checked without a clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu, overhead, roofline
from benchmarks.gpu import FOR_SMALL, FOR_TRANSFORMERS, OPTIONS, PLAIN, Measuring
from benchmarks.overhead import build_base_settings, take_turns
from benchmarks.roofline import Processor, compare, count_work
from studio.core.settings import Settings
from studio.engine.settings_store import SettingsStore
from studio.wiring import build_studio

pytestmark = pytest.mark.torch


def test_operations_of_products_and_convolutions_are_counted_without_computing() -> None:
    import torch

    with torch.device("meta"):
        network = torch.nn.Sequential(
            torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 3, padding=1, stride=2), torch.nn.Conv2d(8, 2, 1)
        )
        image = torch.empty(2, 4, 16, 16)
        work = count_work(network, lambda: network(image))
    first, second, third = 2 * 2 * 8 * 16 * 16 * 4 * 9, 2 * 2 * 8 * 8 * 8 * 8 * 9, 2 * 2 * 2 * 8 * 8 * 8
    assert work.operations == first + second + third
    assert work.convolutions == first, "one of 3×3 that leaves no pixel out"
    assert work.least_operations == first / 4 + second + third
    assert work.weights == 4 * sum(weight.numel() for weight in network.parameters())
    assert not any(layer._forward_hooks for layer in network)


def test_a_network_that_reads_longer_than_it_computes_is_bound_by_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    unet, decoder = roofline.Work(1e12, 4e11, 10 * 2**30), roofline.Work(1e12, 0, 2**30)
    monkeypatch.setattr(roofline, "count_image", lambda side: (unet, decoder))
    arithmetic, _, winograd = compare(128, Processor(1e12, 20 * 2**30), bare=18.0, ours=9.0)
    assert arithmetic.value == pytest.approx((8 * 1 + 1) / 18)
    assert winograd.value == pytest.approx((8 * 0.7 + 1) / 18)
    reading, ours, _ = compare(128, Processor(1e12, 5 * 2**30), bare=34.0, ours=34.0)
    assert reading.value == pytest.approx((8 * 2 + 1) / 34)
    assert ours.value == pytest.approx(2)


def test_every_option_of_the_gpu_benchmark_is_a_setting_that_is_off_in_between() -> None:
    for option in (*OPTIONS, *FOR_SMALL, *FOR_TRANSFORMERS, PLAIN):
        SettingsStore(Settings()).change(dict(option))  # refuses what is no setting or out of range
        assert option.keys() <= PLAIN.keys()
        assert option is PLAIN or any(PLAIN[name] != value for name, value in option.items())


def test_the_gpu_benchmark_compares_every_kind_of_gain_on_this_processor_too(tmp_path: Path) -> None:
    store = SettingsStore(build_base_settings(tmp_path))
    engine = build_studio(store).engine
    engine.start()
    try:
        measured = Measuring(engine, store, rounds=1)
        request = gpu.build_request("embedded", 128).replace(steps=1)
        found = [
            *measured.compare_options(request, ({"fused_projections": True}, {"accelerator": "graphs"})),
            measured.compare_offloading(request),
            measured.compare_joined_jobs(request),
            measured.compare_prompts(request),
        ]
    finally:
        engine.close()
    assert [row.what for row in found] == [
        "embedded: fused_projections True / none",
        "embedded: accelerator graphs / none",
        "embedded: save memory, offload layers / models",
        "embedded: 4 jobs, batch jobs 4 / 1",
        "embedded: a prompt of before / a new one, 1 step",
    ]
    assert all(row.value > 0 for row in found)


def test_calls_take_turns_and_each_begins_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    rests: list[int] = []

    def call(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    monkeypatch.setattr(overhead, "rest", lambda: rests.append(len(order)))
    taken = take_turns({"a": lambda: call("a", 1.0), "b": lambda: call("b", 2.0), "c": lambda: call("c", 4.0)}, 3)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert rests == list(range(9)), "before each call"
    assert taken == {"a": [1.0] * 3, "b": [2.0] * 3, "c": [4.0] * 3}


def test_a_ratio_is_the_median_of_the_rounds_so_a_slow_round_does_not_count() -> None:
    row = overhead.compare("ours / bare", [1.0, 1.1, 9.0, 1.1, 1.1], [1.0, 1.0, 10.0, 1.0, 1.0], 1.02)
    assert row.value == pytest.approx(1.1)
    assert not row.ok
    assert "5 rounds, middle half 0.95 to 1.1" in row.note

"""Upscalers that OpenVINO runs: used once compiled, at the same image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.pipelines.accelerate import openvino_network
from studio.pipelines.accelerate.openvino_network import CompiledNetwork
from studio.pipelines.catalog import bundled_upscaler
from tests.test_upscaling import FAST, Bench

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not openvino_network.is_available(), reason="OpenVINO is not installed"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    bundled_upscaler.unpack_upscalers(made)
    return made


@pytest.fixture
def bench(folder: Path) -> Any:
    import skimage.data

    made = Bench(folder, Image.fromarray(skimage.data.coffee()).crop((150, 60, 246, 140)), accelerator="openvino")
    yield made
    made.pipelines.close()


@pytest.mark.parametrize("settings", [{}, {"tile": 64, "overlap": 16}, {"second": "Lanczos", "second_weight": 0.3}])
def test_the_second_image_is_run_by_openvino_and_is_the_same(bench: Bench, settings: Any, monkeypatch: Any) -> None:
    runs: list[int] = []
    run = CompiledNetwork.run

    def count_run(self: CompiledNetwork, *call: Any) -> Any:
        runs.append(1)
        return run(self, *call)

    monkeypatch.setattr(CompiledNetwork, "run", count_run)
    first = bench.up(**settings)
    assert not runs
    assert bench.pipelines._accelerator.wait(120)
    others = [bench.up(**settings) for _ in range(2)]
    assert runs
    for other in others:
        difference = np.abs(np.asarray(first, dtype=int) - np.asarray(other, dtype=int))
        assert difference.mean() <= 1
        assert difference.max() <= 4
    [resident] = bench.pipelines.get_memory_report().resident
    assert resident.model == FAST
    assert resident.gains["upscaler"] > 0


def test_an_upscaler_in_half_precision_is_left_to_torch(folder: Path) -> None:
    bench = Bench(folder, Image.new("RGB", (32, 32), "teal"), accelerator="openvino", precision="bfloat16")
    bench.up()
    assert bench.pipelines._accelerator.wait(60)
    assert bench.pipelines._registry.get_resident(FAST).accelerated == {}
    bench.pipelines.close()

"""Networks with weights in bfloat16 that OpenVINO runs, where the processor has such numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.pipelines.accelerate import openvino_network
from studio.pipelines.accelerate.network_calls import read_call
from studio.pipelines.accelerate.network_store import compute_digest
from studio.pipelines.accelerate.openvino_network import CompiledNetwork, convert_network
from tests.local_models import FolderCatalog
from tests.test_accelerator import Studio, measure_difference
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not openvino_network.is_available(), reason="OpenVINO is not installed"),
]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> FolderCatalog:
    root = tmp_path_factory.mktemp("checkpoints")
    return FolderCatalog({"tiny": make_tiny_sd15(root / "tiny"), "xl": make_tiny_sdxl(root / "xl")})


@pytest.fixture
def has_bfloat16() -> None:
    if not openvino_network.has_bfloat16():
        pytest.skip("the processor has no bfloat16")


@pytest.fixture
def studio(tmp_path: Path, catalog: FolderCatalog) -> Iterator[Studio]:
    started = Studio(tmp_path, catalog, precision="bfloat16")
    yield started
    started.backend.close()


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every result of OpenVINO."""
    found: list[Any] = []
    run = CompiledNetwork.run

    def record_run(self: CompiledNetwork, tensors: Any, *rest: Any) -> Any:
        result = run(self, tensors, *rest)
        found.append(result)
        return result

    monkeypatch.setattr(CompiledNetwork, "run", record_run)
    return found


def load_unet(catalog: FolderCatalog, model: str = "tiny") -> Any:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    folder = catalog.checkpoint(model).path / "unet"
    return UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.bfloat16).eval()


def make_unet_call(side: int, timestep: float = 501.0, rows: int = 2) -> tuple[tuple[Any, Any], dict[str, Any]]:
    import torch

    generator = torch.Generator().manual_seed(side)
    sample, text = torch.randn(rows, 4, side, side, generator=generator), torch.randn(rows, 77, 32, generator=generator)
    named = {"encoder_hidden_states": text.bfloat16(), "return_dict": False}
    return (sample.bfloat16(), torch.tensor(timestep)), named


@pytest.mark.usefixtures("has_bfloat16")
@pytest.mark.parametrize("model", ["tiny", "xl"])
def test_the_second_image_is_run_by_openvino(studio: Studio, results: list[Any], model: str) -> None:
    import torch

    first, _ = studio.draw(model=model)
    assert not results
    studio.wait()
    networks = studio.backend._registry.get_resident(model).accelerated
    assert {name for name, one in networks.items() if one.ready} == {"unet", "decoder"}
    second, _ = studio.draw(model=model)
    measured = len(results)
    third, _ = studio.draw(model=model)
    assert len(results) - measured == 3 + 1  # three steps and the decoder
    assert {result.dtype for result in results} == {torch.bfloat16}
    for image in (second, third):
        mean, most = measure_difference(first, image)
        assert mean <= 2
        assert most <= 16
    for one in networks.values():
        if one.ready:
            assert one.compiled_bytes < 1.5 * one.bytes, "written in 16 bits"


@pytest.mark.usefixtures("has_bfloat16")
def test_a_network_of_other_layers_is_not_used(studio: Studio, results: list[Any], monkeypatch) -> None:
    import torch

    convert = openvino_network.convert_network

    def convert_other(network: Any, *rest: Any) -> None:
        if hasattr(network, "conv_act"):
            network.conv_act = torch.nn.ReLU()  # SiLU before
        convert(network, *rest)

    monkeypatch.setattr(openvino_network, "convert_network", convert_other)
    studio.draw()
    studio.wait()
    for _ in range(3):
        studio.draw()
    unet, decoder = studio.networks["unet"], studio.networks["decoder"]
    [measured] = [one for _, stored in unet.ready.values() for one in stored.measured.values()]
    assert measured.error > 1.5 * unet.most_error
    results.clear()
    studio.draw()
    assert [result.shape[1] for result in results] == [3], "the decoder alone, which is as it was"
    assert decoder.gain


@pytest.mark.usefixtures("has_bfloat16")
def test_what_was_compiled_is_found_after_a_restart(
    tmp_path: Path, catalog: FolderCatalog, results: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Studio(tmp_path, catalog, precision="bfloat16")
    for _ in range(2):
        first.draw()
        first.wait()
    first.backend.close()
    monkeypatch.setattr(openvino_network, "convert_network", lambda *_: pytest.fail("converted again"))
    second = Studio(tmp_path, catalog, precision="bfloat16")
    results.clear()
    second.backend.warm_up("tiny")
    second.wait()
    assert len(results) == 2, "each network once, so that the first step need not pack its weights"
    second.draw()
    assert len(results) == 2 + 3 + 1, "neither compiled nor measured again"
    second.backend.close()


def test_torch_runs_them_where_the_processor_has_no_bfloat16(
    studio: Studio, results: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_network, "has_bfloat16", lambda: False)
    first, _ = studio.draw()
    studio.wait()
    assert measure_difference(first, studio.draw()[0]) == (0.0, 0)
    assert not results
    assert studio.networks == {}


def test_the_same_weights_in_32_bits_are_another_network(
    tmp_path: Path, catalog: FolderCatalog, results: list[Any]
) -> None:
    import torch

    unet = load_unet(catalog)
    rounded = compute_digest(unet)
    assert rounded == compute_digest(load_unet(catalog))
    assert rounded != compute_digest(unet.float())

    expected: dict[str, Any] = {}
    for precision in ("bfloat16", "float32", "bfloat16"):  # in one folder of networks
        studio = Studio(tmp_path, catalog, precision=precision)
        for _ in range(3):
            image, _ = studio.draw()
            mean, _ = measure_difference(expected.setdefault(precision, image), image)
            assert mean <= (0.1 if precision == "float32" else 2)
            studio.wait()
        studio.backend.close()
    kinds = {torch.float32, torch.bfloat16} if openvino_network.has_bfloat16() else {torch.float32}
    assert {result.dtype for result in results} == kinds


@pytest.mark.usefixtures("has_bfloat16")
def test_what_torch_computes_in_32_bits_is_not_rounded(tmp_path: Path, catalog: FolderCatalog) -> None:
    """Timesteps 979 and 981 are one number in bfloat16."""
    import torch

    unet = load_unet(catalog)
    arguments, named = make_unet_call(8)
    call = read_call(arguments, named, "")
    assert call is not None
    convert_network(unet, call, tmp_path / "network.xml")
    compiled = CompiledNetwork(tmp_path / "network.xml")
    found: list[Any] = []
    for timestep in (979.0, 981.0):
        arguments, named = make_unet_call(16, timestep)
        other = read_call(arguments, named, "")
        assert other is not None
        with torch.inference_mode():
            expected = unet(*arguments, **named)[0]
        found.append(compiled.run(other.tensors))
        assert found[-1].dtype is expected.dtype
        assert (found[-1].float() - expected.float()).abs().max() <= 0.05 * expected.float().abs().max()
    assert not torch.equal(*found)

"""Converted networks with less arithmetic, at the same results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.pipelines.accelerate import openvino_network, winograd
from studio.pipelines.accelerate.network_calls import read_call
from studio.pipelines.accelerate.openvino_network import CompiledNetwork, convert_network

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not openvino_network.is_available(), reason="OpenVINO is not installed"),
]


def enlarge(**how: Any) -> Any:
    import torch

    return torch.nn.Upsample(**({"scale_factor": 2, "mode": "nearest"} | how))


def convolve(kernel: int = 3, **how: Any) -> Any:
    import torch

    options: dict[str, Any] = {"padding": kernel // 2, **how}
    return torch.nn.Conv2d(6, 10, kernel, **options)


class Decoder:
    """A network of `layers` between others, converted to a file of `folder`."""

    def __init__(self, folder: Path, *layers: Any, channels: int = 6, transformed: bool = False) -> None:
        import torch

        torch.manual_seed(0)
        first = torch.nn.Conv2d(4, channels, 3, padding=1)
        self.network = torch.nn.Sequential(first, *layers, torch.nn.SiLU()).eval()
        call = read_call((torch.rand(1, 4, 8, 8),), {}, "")
        assert call is not None
        self.path = folder / "network.xml"
        with torch.no_grad():
            convert_network(self.network, call, self.path, transformed)

    @property
    def weights_bytes(self) -> int:
        return self.path.with_suffix(".bin").stat().st_size

    def count(self, kind: str) -> int:
        import openvino

        return sum(node.get_type_name() == kind for node in openvino.Core().read_model(self.path).get_ops())

    def assert_equal_results(self) -> None:
        """At sizes that it was not traced with, and compiled for one of them alone."""
        import torch

        any_size = CompiledNetwork(self.path)
        for shape in ((1, 4, 8, 8), (3, 4, 5, 12)):
            given = torch.randn(shape)
            with torch.no_grad():
                expected = self.network(given)
            for compiled in (any_size, CompiledNetwork(self.path, (shape,))):
                torch.testing.assert_close(compiled.run((given,)), expected, atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("how", [{}, {"bias": False}], ids=["with bias", "without bias"])
def test_an_enlargement_and_its_convolution_become_one_operation(tmp_path: Path, how: dict[str, Any]) -> None:
    decoder = Decoder(tmp_path, enlarge(), convolve(**how))
    assert decoder.count("Interpolate") == 0
    assert decoder.count("ConvolutionBackpropData") == 1
    decoder.assert_equal_results()


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        (lambda: (enlarge(scale_factor=3), convolve()), "three times as large"),
        (lambda: (enlarge(scale_factor=(2, 1)), convolve()), "higher only"),
        (lambda: (enlarge(mode="bilinear"), convolve()), "blended pixels"),
        (lambda: (enlarge(), convolve(5)), "a larger kernel"),
        (lambda: (enlarge(), convolve(stride=2)), "every other pixel"),
        (lambda: (enlarge(), convolve(padding=0)), "no zeros around"),
        (lambda: (enlarge(), convolve(dilation=2, padding=2)), "pixels further away"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_pairs_stay_as_they_are(tmp_path: Path, layers: Any, why: str) -> None:
    decoder = Decoder(tmp_path, *layers())
    assert decoder.count("Interpolate") == 1, why
    assert decoder.count("ConvolutionBackpropData") == 0
    decoder.assert_equal_results()


def test_what_else_uses_the_enlarged_image_keeps_it(tmp_path: Path) -> None:
    import torch

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enlarge, self.convolve, self.skip = enlarge(), convolve(), torch.nn.Conv2d(6, 10, 1)

        def forward(self, given: Any) -> Any:
            large = self.enlarge(given)
            return self.convolve(large) + self.skip(large)

    decoder = Decoder(tmp_path, Both())
    assert decoder.count("Interpolate") == 1
    assert decoder.count("ConvolutionBackpropData") == 1
    decoder.assert_equal_results()


def test_convolutions_with_many_channels_become_products_of_matrices(tmp_path: Path) -> None:
    import torch

    wide = [torch.nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in ((256, 288), (288, 256))]
    decoder = Decoder(tmp_path, *wide, channels=256, transformed=True)
    assert decoder.count("Convolution") == 1, "the first one has four channels"
    assert decoder.count("MatMul") == 2 * 5
    decoder.assert_equal_results()
    plain = Decoder(tmp_path / "plain", *wide, channels=256)
    assert plain.count("MatMul") == 0
    grown = decoder.weights_bytes - plain.weights_bytes
    assert winograd.measure_growth(decoder.network) == pytest.approx(grown, rel=0.01)


def test_convolutions_of_more_weights_take_small_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(winograd, "_MOST_WEIGHTS", 256 * 256)
    wide = torch.nn.Conv2d(256, 288, 3, padding=1)
    decoder = Decoder(tmp_path, wide, channels=256, transformed=True)
    assert decoder.count("Convolution") == 1
    decoder.assert_equal_results()
    plain = Decoder(tmp_path / "plain", wide, channels=256)
    assert decoder.weights_bytes - plain.weights_bytes == pytest.approx(4 * (16 - 9) * 256 * 288, rel=0.02)


def test_deep_in_a_network_they_become_one_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(winograd, "_MOST_WEIGHTS", 256 * 256)
    deep = (torch.nn.AvgPool2d(8), torch.nn.Conv2d(300, 288, 3, padding=1), torch.nn.Upsample(scale_factor=8))
    decoder = Decoder(tmp_path, *deep, channels=300, transformed=True)
    assert decoder.count("MatMul") == 1
    plain = Decoder(tmp_path / "plain", *deep, channels=300)
    assert decoder.weights_bytes == pytest.approx(plain.weights_bytes, rel=0.001)
    for side in (8, 16, 24):
        given = torch.randn((2, 4, side, side + 8))
        with torch.no_grad():
            expected = decoder.network(given)
        torch.testing.assert_close(CompiledNetwork(decoder.path).run((given,)), expected, atol=5e-5, rtol=1e-5)


class Attention:
    """A compiled network that reads a text as diffusers' denoisers do; `made` counts how often it was taken up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.query, self.key, self.value = (torch.nn.Linear(width, 8) for width in (4, 6, 6))

            def forward(self, sample: Any, encoder_hidden_states: Any) -> Any:
                key, value = self.key(encoder_hidden_states), self.value(encoder_hidden_states)
                query = self.query(sample)
                length = encoder_hidden_states.shape[1]
                key, value = (each.reshape(-1, length, 2, 4).transpose(1, 2) for each in (key, value))
                query = query.reshape(-1, sample.shape[1], 2, 4).transpose(1, 2)
                return torch.nn.functional.scaled_dot_product_attention(query, key, value)

        torch.manual_seed(0)
        self.network = Network().eval()
        call = read_call((torch.rand(2, 5, 4),), {"encoder_hidden_states": torch.rand(2, 7, 6)}, "")
        assert call is not None
        with torch.no_grad():
            convert_network(self.network, call, folder / "network.xml")
        self.made = 0
        self.compiled = CompiledNetwork(folder / "network.xml")
        text_part = self.compiled._text
        assert text_part is not None
        infer = text_part._request.infer
        monkeypatch.setattr(text_part, "_request", self)
        self._infer = infer

    def infer(self, *given: Any, **named: Any) -> Any:
        self.made += 1
        return self._infer(*given, **named)

    def assert_equal_result(self, sample: Any, text: Any) -> None:
        import torch

        with torch.no_grad():
            expected = self.network(sample, text)
        torch.testing.assert_close(self.compiled.run((sample, text)), expected, atol=1e-5, rtol=1e-5)


def test_a_text_is_taken_up_once_for_all_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    attention, text = Attention(tmp_path, monkeypatch), torch.randn(2, 7, 6)
    for side in (5, 9):
        attention.assert_equal_result(torch.randn(2, side, 4), text)
    assert attention.made == 1
    text[1, 3, 2] += 1  # the same tensor with other numbers
    attention.assert_equal_result(torch.randn(2, 5, 4), text)
    attention.assert_equal_result(torch.randn(1, 5, 4), torch.randn(1, 14, 6))
    assert attention.made == 3


def test_a_network_without_products_of_the_text_alone_stays_whole(tmp_path: Path) -> None:
    decoder = Decoder(tmp_path, convolve())
    assert CompiledNetwork(decoder.path)._text is None

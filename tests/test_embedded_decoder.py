"""The stage of tools/embedded that trains a wider decoder of the same latents."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("cv2")

from diffusers.models.autoencoders.vae import DecoderTiny  # noqa: E402

from tools.embedded import decoder as decoder_module  # noqa: E402
from tools.embedded import upscaler_pairs  # noqa: E402
from tools.embedded.convolution import convolve_enlarged, join_upsampling, replace_convolutions  # noqa: E402
from tools.embedded.decoder import (  # noqa: E402
    add_noise,
    compute_decoder_loss,
    grow_decoder,
    list_training_drawings,
    load_wide_vae,
    show_drawing,
)
from tools.embedded.vae import HELD_OUT, compute_psnr, split_indices  # noqa: E402

pytestmark = pytest.mark.torch


def build_decoder(width: int, blocks: tuple[int, ...]) -> DecoderTiny:
    torch.manual_seed(width)
    return DecoderTiny(4, 3, blocks, (width,) * 4, 2, "relu", "nearest")


def test_a_grown_decoder_decodes_as_the_smaller_one_did() -> None:
    small, large = build_decoder(8, (2, 1, 1, 0)), build_decoder(12, (4, 3, 1, 0))
    latents = torch.randn(2, 4, 6, 6)
    assert not torch.allclose(large(latents), small(latents), atol=1e-3)
    grow_decoder(small, large)
    assert torch.allclose(large(latents), small(latents), atol=1e-5)


def test_everything_that_was_added_to_a_decoder_learns_within_two_steps() -> None:
    small, large = build_decoder(8, (2, 1, 1, 0)), build_decoder(12, (4, 3, 1, 0))
    grow_decoder(small, large)
    before = copy.deepcopy(large.state_dict())
    optimizer = torch.optim.AdamW(large.parameters(), 1e-3, weight_decay=0)
    latents, wanted = torch.randn(4, 4, 6, 6), torch.rand(4, 3, 48, 48)
    for _ in range(2):
        optimizer.zero_grad()
        (large(latents) - wanted).square().mean().backward()
        optimizer.step()
    unchanged = [name for name, value in large.state_dict().items() if torch.equal(value, before[name])]
    assert unchanged == []


def test_an_enlargement_joined_with_its_convolution_agrees_with_the_two() -> None:
    torch.manual_seed(0)
    image, weight = torch.randn(2, 5, 4, 7, requires_grad=True), torch.randn(6, 5, 3, 3, requires_grad=True)
    plain = torch.nn.functional.conv2d(torch.nn.functional.interpolate(image, scale_factor=2.0), weight, padding=1)
    joined = convolve_enlarged(image, weight)
    assert torch.allclose(joined, plain, atol=1e-5)
    pull = torch.randn_like(plain)
    expected = torch.autograd.grad((plain * pull).sum(), (image, weight))
    found = torch.autograd.grad((joined * pull).sum(), (image, weight))
    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_a_quick_decoder_agrees_with_the_plain_one_and_keeps_its_names() -> None:
    plain = build_decoder(8, (2, 1, 1, 0))
    quick = copy.deepcopy(plain)
    replace_convolutions(quick)
    join_upsampling(quick.layers)
    assert list(quick.state_dict()) == list(plain.state_dict())
    latents = torch.randn(2, 4, 6, 6)
    assert torch.allclose(quick(latents).float(), plain(latents), atol=0.03)


def test_the_shipped_encoder_stays_and_the_decoder_begins_as_it_is() -> None:
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    shipped = AutoencoderTiny.from_pretrained(decoder_module.find_vae()).float()
    wide = load_wide_vae()
    assert wide.config["scaling_factor"] == shipped.config["scaling_factor"]
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        latents = shipped.encoder(image)
        assert torch.equal(wide.encoder(image), latents)
        assert torch.allclose(wide.decoder(latents), shipped.decoder(latents), atol=1e-4)


def test_the_loss_is_the_negative_psnr_in_another_unit() -> None:
    torch.manual_seed(0)
    image = torch.rand(3, 3, 8, 8) * 2 - 1
    decoded = image + torch.randn_like(image) * torch.tensor([0.05, 0.1, 0.3])[:, None, None, None]
    psnr = compute_psnr(decoded, image).mean()
    assert float(-10 / np.log(10) * compute_decoder_loss(decoded, image) + 10 * np.log10(4)) == pytest.approx(
        float(psnr), abs=0.02
    )


def test_drawings_that_measure_autoencoder_or_upscaler_are_not_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = [("3d" if number % 2 else "flat", f"thing {number // 2}") for number in range(600)]
    everything, _ = split_indices(len(index))
    kept = [index[number] for number in everything[:3]]
    labels: dict[str, list[str]] = {"3d": [], "flat": []}
    for style, label in kept:
        labels[style].append(label)
    monkeypatch.setattr(upscaler_pairs, "HELD_OUT_FILE", tmp_path / "held_out.json")
    assert len(list_training_drawings(index)) == len(index) - HELD_OUT
    (tmp_path / "held_out.json").write_text(json.dumps(labels), encoding="utf-8")
    assert set(everything.tolist()) - set(list_training_drawings(index).tolist()) == set(everything[:3].tolist())


def test_views_are_whole_images_and_vary() -> None:
    drawing = np.zeros((128, 128, 4), np.uint8)
    drawing[32:96, 32:96] = (220, 40, 40, 255)
    views = [show_drawing(drawing, np.random.default_rng(seed)) for seed in range(12)]
    assert all(view.shape == (128, 128, 3) and view.min() >= 0 and view.max() <= 255 for view in views)
    assert len({view.tobytes() for view in views}) > 6


def test_some_latents_get_noise_within_the_limit() -> None:
    torch.manual_seed(0)
    difference = add_noise(torch.zeros(400, 4, 16, 16)).std((1, 2, 3))
    assert 0.2 < float((difference > 0).float().mean()) < 0.4
    assert float(difference.max()) < 0.14

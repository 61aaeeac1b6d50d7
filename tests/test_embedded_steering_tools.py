"""The parts of tools/embedded that make and measure the ControlNet and the LoRA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
pytest.importorskip("diffusers")

from tools.embedded import trainer as trainer_module  # noqa: E402
from tools.embedded.control import CONDITIONING_CHANNELS, roughen_edges  # noqa: E402
from tools.embedded.convolution import replace_convolutions  # noqa: E402
from tools.embedded.edges import compute_f1, compute_ssim, detect_edges, draw_outlines  # noqa: E402
from tools.embedded.neon import GROUND, apply_neon, compute_palette_distance  # noqa: E402
from tools.embedded.paths import IMAGE_SIZE, LATENT_FACTOR, LATENT_SIZE, TEXT_WIDTH  # noqa: E402
from tools.embedded.sampling import to_control_images  # noqa: E402
from tools.embedded.shapes import bend_drawing, make_image_and_edges  # noqa: E402
from tools.embedded.trainer import Progress, Recipe, Run, Trainer, compute_rate, load_averaged_weights  # noqa: E402
from tools.embedded.unet import build_unet as build_unet  # noqa: E402

pytestmark = pytest.mark.torch


def square(side: int = 64) -> np.ndarray:
    """An opaque red square in the middle, premultiplied RGBA, uint8 [side, side, 4]."""
    image = np.zeros((side, side, 4), np.uint8)
    image[side // 4 : -side // 4, side // 4 : -side // 4] = (220, 40, 40, 255)
    return image


def test_edges_agree_with_themselves_and_with_near_ones_only() -> None:
    lines = draw_outlines(IMAGE_SIZE)
    for one in lines:
        assert compute_f1(one, one) == pytest.approx(1.0)
        assert compute_ssim(one, one) == pytest.approx(1.0)
        assert compute_f1(np.roll(one, 1, axis=1), one) > 0.95
    assert compute_f1(lines[0], lines[1]) < 0.7
    assert compute_ssim(lines[0], lines[1]) < compute_ssim(np.roll(lines[0], 1, axis=1), lines[0])
    assert compute_f1(np.zeros_like(lines[0]), lines[0]) == 0.0


def test_agreement_is_the_harmonic_mean_of_both_directions() -> None:
    wanted = np.zeros((32, 32), bool)
    wanted[8] = wanted[24] = True
    half = np.zeros((32, 32), bool)
    half[8] = True
    assert compute_f1(half, wanted) == pytest.approx(2 / 3)  # precision 1, recall 1/2


def test_control_images_are_white_on_black() -> None:
    tensor = to_control_images(draw_outlines(32))
    assert tensor.shape == (5, 3, 32, 32)
    assert set(tensor.unique().tolist()) == {0.0, 1.0}


def test_bending_moves_the_drawing_and_keeps_it_premultiplied() -> None:
    drawing = square()
    moved = [bend_drawing(drawing, np.random.default_rng(seed)) for seed in range(8)]
    assert all(image.shape == drawing.shape for image in moved)
    assert all((image[..., :3].max(-1) <= image[..., 3]).all() for image in moved)
    assert len({image.tobytes() for image in moved}) == len(moved)


def test_pairs_hold_the_edges_of_their_image() -> None:
    from tools.embedded.captions import View

    for seed in range(6):
        shown, edges = make_image_and_edges(
            square(), View("3d", None, "blue", mirrored=True), np.random.default_rng(seed)
        )
        assert shown.shape == (64, 64, 3)
        assert compute_f1(detect_edges(shown), edges) > 0.9


def test_roughening_leaves_zeros_and_ones_and_only_erases_or_broadens() -> None:
    torch.manual_seed(0)
    lines = torch.from_numpy(draw_outlines(64)).float()[:, None].repeat(20, 1, 1, 1)
    rough = roughen_edges(lines)
    assert rough.shape == lines.shape
    assert set(rough.unique().tolist()) == {0.0, 1.0}
    counts, before = rough.sum((1, 2, 3)), lines.sum((1, 2, 3))
    for kind in (counts < before, counts > before, counts == before):
        assert kind.any()


def test_neon_is_dark_with_lines_in_the_colour_of_the_drawing() -> None:
    shown = apply_neon(square())
    assert np.allclose(shown[0, 0], GROUND, atol=2)
    middle_of_side = shown[16 - 2 : 16 + 2, 32].max(0)
    assert middle_of_side[0] > 200
    assert middle_of_side[0] > 2 * middle_of_side[1]
    assert shown[32, 32].max() < 80


def test_palette_distance_minds_colours_and_not_places() -> None:
    shown = apply_neon(square())
    assert compute_palette_distance(shown, shown[::-1, ::-1]) == 0.0
    assert compute_palette_distance(np.zeros((8, 8, 3)), np.full((8, 8, 3), 255)) == pytest.approx(1.0)


def test_conditioning_has_the_stride_of_the_autoencoder_and_starts_without_effect() -> None:
    from diffusers.models.controlnets.controlnet import ControlNetModel

    assert 2 ** (len(CONDITIONING_CHANNELS) - 1) == LATENT_FACTOR
    unet = build_unet().eval()
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=CONDITIONING_CHANNELS).eval()
    latents, states = torch.randn(1, 4, LATENT_SIZE, LATENT_SIZE), torch.randn(1, 7, TEXT_WIDTH)
    lines = to_control_images(draw_outlines(IMAGE_SIZE)[:1])
    with torch.no_grad():
        down, middle = control(latents, 500, states, lines, return_dict=False)
        plain = unet(latents, 500, states, return_dict=False)[0]
        steered = unet(
            latents,
            500,
            states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
    assert torch.equal(plain, steered)


def test_frozen_quick_convolutions_pass_gradients_and_get_none() -> None:
    layer = torch.nn.Conv2d(4, 4, 3, padding=1)
    replace_convolutions(layer)
    layer.requires_grad_(False)
    image = torch.randn(1, 4, 8, 8, requires_grad=True)
    layer(image).float().square().mean().backward()
    assert image.grad is not None
    assert float(image.grad.abs().max()) > 0
    assert layer.weight.grad is None


def test_rate_rises_holds_and_falls() -> None:
    recipe = Recipe("any", rate=1.0, warmup=10)
    assert compute_rate(recipe, Progress(step=0), plan=10) == pytest.approx(0.1)
    assert compute_rate(recipe, Progress(step=100, seconds=300), plan=10) == pytest.approx(1.0)
    assert compute_rate(recipe, Progress(step=100, seconds=480), plan=10) == pytest.approx(0.5)
    assert compute_rate(recipe, Progress(step=100, seconds=6000), plan=10) == pytest.approx(0.03)


def test_training_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "STATE", tmp_path)
    recipe, run = Recipe("line", rate=0.1, batch=4, warmup=1), Run(minutes=1, plan=1)
    layer = torch.nn.Linear(1, 1)
    first = Trainer(layer, recipe)
    for _ in range(3):
        first.step(layer(torch.ones(4, 1)).square().mean(), 0.5, run)
        first.ema.update(layer, first.progress.step)
    first.save()

    other = torch.nn.Linear(1, 1)
    second = Trainer(other, recipe)
    assert second.progress == Progress(step=3, samples=12, seconds=1.5)
    assert torch.equal(other.weight, layer.weight)
    averaged = torch.nn.Linear(1, 1)
    assert load_averaged_weights(averaged, "line") == second.progress
    assert torch.equal(averaged.weight, first.ema.values["weight"])
    for module, trainer in ((layer, first), (other, second)):
        trainer.step(module(torch.ones(4, 1)).square().mean(), 0.5, run)
    assert torch.equal(other.weight, layer.weight)  # the optimiser's momentum came along

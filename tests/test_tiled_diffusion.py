"""Tiled diffusion: windows, their mean, bounded memory, and drawings of every kind on tiny checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from studio.core.errors import JobCancelled
from studio.core.request import GenerationRequest, Hires
from studio.core.task import Task
from studio.pipelines.run.tiled_diffusion import Tiles
from tests.editing_studio import EditingStudio, compute_difference, make_scene
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "sd15")
    make_tiny_sdxl(root / "xl")
    made = EditingStudio(root, {"source": make_scene(160, 96)})
    yield made
    made.backend.close()


@pytest.fixture(scope="module")
def unet(studio: EditingStudio) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(studio.settings.models_dir / "sd15" / "unet", local_files_only=True)


@pytest.mark.parametrize("overlap", [0, 4, 8, 14, 15])
@pytest.mark.parametrize("size", [(16, 16), (17, 16), (40, 100), (33, 8)])
@pytest.mark.parametrize("aligned", [False, True])
def test_windows_cover_everything_and_overlap_as_asked(overlap: int, size: tuple[int, int], aligned: bool) -> None:
    windows = Tiles(16, overlap, 1).list_windows(*size, aligned=aligned)
    for whole, starts in (
        (size[0], sorted({one.top for one in windows})),
        (size[1], sorted({one.left for one in windows})),
    ):
        assert (starts[0], starts[-1]) == (0, max(0, whole - 16))
        assert all(then - now <= 16 - (0 if aligned else overlap) for now, then in pairwise(starts))
        assert not aligned or all(start % 8 == 0 for start in starts[:-1])
    assert len(windows) == len(set(windows))


def test_tiles_follow_the_request_in_latent_pixels() -> None:
    assert Tiles.of(GenerationRequest(tile_size=768), 8) == Tiles(96, 48, 1)
    assert Tiles.of(GenerationRequest(tile_size=100, tile_overlap=0.9, tile_batch=4), 8) == Tiles(8, 7, 4)


def go_on() -> None: ...


def ask(unet: Any, height: int, width: int, **more: Any) -> Any:
    import torch

    source = torch.Generator().manual_seed(1)
    sample = torch.randn((2, 4, height, width), generator=source)
    text = torch.randn((2, 77, 32), generator=source)
    with torch.inference_mode():
        return sample, text, unet(sample, torch.tensor(300), encoder_hidden_states=text, **more).sample


def test_latents_within_one_tile_are_answered_bit_for_bit_as_without(unet: Any) -> None:
    from studio.pipelines.run.tiled_diffusion import draw_in_tiles

    plain = ask(unet, 16, 12)[2]
    with draw_in_tiles(unet, Tiles(16, 8, 1), go_on):
        assert ask(unet, 16, 12)[2].equal(plain)


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_larger_latents_are_the_mean_of_all_tiles_whatever_goes_through_together(unet: Any, batch: int) -> None:
    import torch

    from studio.pipelines.run.tiled_diffusion import draw_in_tiles

    own, shapes = unet.forward, []

    def forward(sample: Any, *args: Any, **rest: Any) -> Any:
        shapes.append(tuple(sample.shape))
        return own(sample, *args, **rest)

    unet.forward = forward
    try:
        with draw_in_tiles(unet, Tiles(16, 6, batch), go_on):
            sample, text, found = ask(unet, 24, 40)
    finally:
        del unet.forward
    assert all(rows <= 2 * batch and (height, width) == (16, 16) for rows, _, height, width in shapes)
    total, count = torch.zeros_like(sample), torch.zeros((24, 40))
    with torch.inference_mode():
        for top in (0, 8):
            for left in (0, 8, 16, 24):
                part = sample[:, :, top : top + 16, left : left + 16]
                total[:, :, top : top + 16, left : left + 16] += unet(part, 300, encoder_hidden_states=text).sample
                count[top : top + 16, left : left + 16] += 1
    assert torch.allclose(found, total / count, atol=1e-5)


def test_a_drawing_can_be_stopped_between_tiles(unet: Any) -> None:
    from studio.pipelines.run.tiled_diffusion import draw_in_tiles

    calls: list[int] = []

    def stop_at_the_third() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise JobCancelled("Stopped.")

    with draw_in_tiles(unet, Tiles(16, 8, 1), stop_at_the_third), pytest.raises(JobCancelled):
        ask(unet, 32, 32)
    assert len(calls) == 3


def test_what_controlnets_add_is_cut_to_each_tile(unet: Any) -> None:
    """Residuals of a ControlNet, as maps of the whole image, act on each tile by their own part."""
    import torch

    from studio.pipelines.run.tiled_diffusion import draw_in_tiles

    source = torch.Generator().manual_seed(3)
    shapes: list[tuple[int, ...]] = []
    own = unet.mid_block.forward
    unet.mid_block.forward = lambda x, *args, **rest: (shapes.append(tuple(x.shape)), own(x, *args, **rest))[1]
    down = [torch.randn((2, 16, 32, 24), generator=source) for _ in range(2)]
    down += [torch.randn((2, size, 16, 12), generator=source) for size in (16, 32)]
    middle = torch.randn((2, 32, 16, 12), generator=source)
    try:
        with draw_in_tiles(unet, Tiles(16, 8, 2), go_on):
            sample, text, found = ask(
                unet, 32, 24, down_block_additional_residuals=down, mid_block_additional_residual=middle
            )
    finally:
        del unet.mid_block.forward
    assert set(shapes) == {(4, 32, 8, 8)}
    total, count = torch.zeros_like(sample), torch.zeros((32, 24))
    with torch.inference_mode():
        for top in (0, 8, 16):
            for left in (0, 8):
                rows, columns = slice(top, top + 16), slice(left, left + 16)
                half_rows, half_columns = slice(top // 2, top // 2 + 8), slice(left // 2, left // 2 + 8)
                total[:, :, rows, columns] += unet(
                    sample[:, :, rows, columns],
                    300,
                    encoder_hidden_states=text,
                    down_block_additional_residuals=[
                        one[:, :, rows, columns] if one.shape[2] == 32 else one[:, :, half_rows, half_columns]
                        for one in down
                    ],
                    mid_block_additional_residual=middle[:, :, half_rows, half_columns],
                ).sample
                count[rows, columns] += 1
    assert torch.allclose(found, total / count, atol=1e-5)


@pytest.mark.parametrize("model", ["sd15", "xl"])
@pytest.mark.parametrize("task", [Task.TXT2IMG, Task.IMG2IMG])
@pytest.mark.parametrize("prompt", ["a red apple", "a red apple AND a blue bird"])
def test_a_large_drawing_is_the_same_for_each_number_of_tiles_at_once(
    studio: EditingStudio, model: str, task: Task, prompt: str
) -> None:
    size: dict[str, Any] = {"width": 160, "height": 96, "prompt": prompt}
    plain = studio.draw_image(model, task, **size)
    one, four = (studio.draw_image(model, task, **size, tile_size=64, tile_batch=batch) for batch in (1, 4))
    assert compute_difference(one, four).max() <= 1
    assert compute_difference(one, plain).any()
    assert studio.draw_image(model, task, **size, tile_size=192).tobytes() == plain.tobytes()
    assert studio.draw_image(model, task, **size).tobytes() == plain.tobytes()


def test_a_hires_pass_is_drawn_in_tiles_and_the_first_pass_that_fits_is_not(studio: EditingStudio) -> None:
    hires = Hires(scale=2.0, upscaler="Latent", strength=0.6)
    plain = studio.draw_image("sd15", Task.TXT2IMG, hires=hires)
    assert compute_difference(studio.draw_image("sd15", Task.TXT2IMG, hires=hires, tile_size=64), plain).any()
    within = studio.draw_image("sd15", Task.TXT2IMG, hires=hires, tile_size=128)
    assert within.tobytes() == plain.tobytes()


def test_tiles_go_with_other_guidance(studio: EditingStudio) -> None:
    size: dict[str, Any] = {"width": 128, "height": 96, "tile_size": 64}
    plain = studio.draw_image("sd15", Task.TXT2IMG, **size)
    for fields in (
        {"pag_scale": 4.0},
        {"sag_scale": 3.0},
        {"guidance_rescale": 0.7},
        {"mimic_scale": 2.0},
        {"tiling": True},
    ):
        assert compute_difference(studio.draw_image("sd15", Task.TXT2IMG, **size, **fields), plain).any()

"""Token merging against the paper's procedure, spelled out, and on tiny real networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from studio.core.feature import Feature
from studio.core.infotext import parse_infotext
from studio.core.request_parts import Hires
from studio.core.task import Task
from tests.editing_studio import EditingStudio, compute_difference, make_scene
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch
FULL = {
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "full", **FULL)
    make_tiny_sd15(root / "sd15")
    make_tiny_sdxl(root / "xl")
    made = EditingStudio(root, {"source": make_scene()})
    yield made
    made.backend.close()


def average_tokens(values: np.ndarray, features: np.ndarray, height: int, width: int, count: int) -> np.ndarray:
    """What every token of one image reads after merging and unmerging, place by place."""
    kept = [row * width + column for row in range(0, height // 2 * 2, 2) for column in range(0, width // 2 * 2, 2)]
    others = [place for place in range(height * width) if place not in kept]
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    pairs = sorted(((max((float(unit[one] @ unit[two]), two) for two in kept), one) for one in others), reverse=True)
    target = {one: two for (_, two), one in pairs[:count]}
    mean = {two: np.mean([values[two], *(values[one] for one in target if target[one] == two)], axis=0) for two in kept}
    return np.stack([mean.get(target.get(place, place), values[place]) for place in range(height * width)])


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7)])
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
def test_tokens_are_merged_into_the_one_of_each_square_that_they_resemble(
    height: int, width: int, ratio: float
) -> None:
    import torch

    from studio.pipelines.run.token_merging import match_tokens

    source = torch.Generator().manual_seed(3)
    features, values = (torch.randn((2, height * width, 8), generator=source) for _ in range(2))
    merge, unmerge = match_tokens(features, height, width, ratio)
    merged = merge(values)
    others = height * width - (height // 2) * (width // 2)
    count = min(others, int(height * width * ratio))
    assert merged.shape == (2, height * width - count, 8)
    for found, own, seen in zip(unmerge(merged).numpy(), values.numpy(), features.numpy(), strict=True):
        assert np.allclose(found, average_tokens(own, seen, height, width, count), atol=1e-5)


def test_nothing_is_merged_at_0_or_in_a_single_row() -> None:
    import torch

    from studio.pipelines.run.token_merging import match_tokens

    values = torch.randn((1, 8, 4), generator=torch.Generator().manual_seed(1))
    for height, width, ratio in ((2, 4, 0.0), (1, 8, 0.5)):
        merge, unmerge = match_tokens(values, height, width, ratio)
        assert torch.equal(merge(values), values)
        assert torch.equal(unmerge(values), values)


def test_only_attention_at_full_resolution_takes_fewer_tokens(studio: EditingStudio) -> None:
    import torch
    from diffusers import UNet2DConditionModel

    from studio.pipelines.run.token_merging import merge_tokens

    folder = studio.settings.models_dir / "full" / "unet"
    unet: Any = UNet2DConditionModel.from_pretrained(folder, local_files_only=True)
    seen: list[int] = []
    for name, module in unet.named_modules():
        if name.endswith("attn1.to_q"):
            module.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    latents = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    text = torch.randn((2, 77, 32), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        plain = unet(latents, 300, encoder_hidden_states=text).sample
        whole, seen[:] = list(seen), []
        with merge_tokens(unet, 0.5):
            merged = unet(latents, 300, encoder_hidden_states=text).sample
        fewer, seen[:] = list(seen), []
        again = unet(latents, 300, encoder_hidden_states=text).sample
    assert set(whole) == {64, 16}
    assert fewer == [32 if tokens == 64 else tokens for tokens in whole]
    assert not torch.equal(merged, plain)
    assert torch.equal(again, plain), "nothing is left behind"


@pytest.mark.parametrize("task", [Task.TXT2IMG, Task.IMG2IMG])
def test_a_ratio_changes_an_image_and_leaves_nothing_behind(studio: EditingStudio, task: Task) -> None:
    plain = studio.draw_image("full", task)
    for fields in ({}, {"pag_scale": 3.0}, {"sag_scale": 0.5}, {"freeu": "1.5, 1.6, 0.9, 0.2"}):
        without = studio.draw_image("full", task, **fields)
        assert compute_difference(studio.draw_image("full", task, token_merging_ratio=0.5, **fields), without).any()
    assert studio.draw_image("full", task).tobytes() == plain.tobytes()


def test_the_hires_pass_has_the_first_passs_ratio_or_its_own(studio: EditingStudio) -> None:
    def draw(first: float, second: float | None) -> bytes:
        hires = Hires(scale=2, steps=2, strength=0.6, token_merging_ratio=second)
        return studio.draw_image("full", Task.TXT2IMG, hires=hires, token_merging_ratio=first).tobytes()

    assert draw(0.5, None) == draw(0.5, 0.5)
    assert len({draw(0.0, None), draw(0.0, 0.5), draw(0.5, 0.25), draw(0.5, 0.5)}) == 4


def test_only_models_with_attention_at_full_resolution_have_it(studio: EditingStudio) -> None:
    found = {model.id for model in studio.backend.models() if Feature.TOKEN_MERGING in model.features}
    assert found == {"full"}


def test_infotexts_of_automatic1111_name_both_ratios() -> None:
    text = (
        "a\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64, Denoising strength: 0.6, Hires upscale: 2, "
        "Hires upscaler: Latent, Token merging ratio: 0.3, Token merging ratio hr: 0.5"
    )
    parsed = parse_infotext(text)
    assert parsed.request.token_merging_ratio == 0.3
    assert parsed.request.hires is not None
    assert parsed.request.hires.token_merging_ratio == 0.5
    assert parsed.unknown == {}

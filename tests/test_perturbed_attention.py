"""Perturbed-attention guidance against diffusers' own pipeline, on tiny real checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from studio.core.task import Task
from tests.editing_studio import EditingStudio, compute_difference, make_scene
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "sd15")
    make_tiny_sdxl(root / "xl")
    made = EditingStudio(root, {"source": make_scene()})
    yield made
    made.backend.close()


@pytest.mark.parametrize("halves", [True, False])
def test_a_perturbed_unet_guides_as_diffusers_does(studio: EditingStudio, halves: bool) -> None:
    import torch
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import PAGCFGIdentitySelfAttnProcessor2_0

    from studio.pipelines.run.perturbed_attention import guide_by_perturbation

    unet: Any = UNet2DConditionModel.from_pretrained(
        studio.settings.models_dir / "sd15" / "unet", local_files_only=True
    )
    sample = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    negative, positive = torch.randn((2, 77, 32), generator=torch.Generator().manual_seed(2)).split(1)
    text = torch.cat([negative.expand(2, -1, -1), positive.expand(2, -1, -1)])
    with torch.inference_mode():
        own = unet.attn_processors
        perturbed = {
            name: PAGCFGIdentitySelfAttnProcessor2_0() if name.startswith("mid_block") and "attn1" in name else one
            for name, one in own.items()
        }
        assert perturbed != own
        unet.set_attn_processor(perturbed)
        three = unet(torch.cat([sample] * 3), 300, encoder_hidden_states=torch.cat([text, text[2:]])).sample
        unet.set_attn_processor(own)
        without, prompted, blind = three.chunk(3)
        expected = without + 5.0 * (prompted - without) + 3.0 * (prompted - blind)
        with guide_by_perturbation(unet, 5.0, 3.0, 2, halves=halves):
            low, high = unet(torch.cat([sample] * 2), 300, encoder_hidden_states=text).sample.chunk(2)
    assert torch.allclose(low + 5.0 * (high - low), expected, atol=1e-4)
    assert not torch.allclose(blind, prompted, atol=1e-4)


@pytest.mark.parametrize("model", ["sd15", "xl"])
@pytest.mark.parametrize("prompt", ["a red apple", "a red apple AND a blue bird"])
@pytest.mark.parametrize("task", [Task.TXT2IMG, Task.IMG2IMG])
def test_it_changes_a_drawing_and_leaves_nothing_behind(
    studio: EditingStudio, model: str, prompt: str, task: Task
) -> None:
    plain = studio.draw_image(model, task, prompt=prompt)
    assert compute_difference(studio.draw_image(model, task, prompt=prompt, pag_scale=5.0), plain).any()
    assert studio.draw_image(model, task, prompt=prompt).tobytes() == plain.tobytes()

"""Textures that continue beyond their edges, and guidance that is rescaled, on tiny real networks."""

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


def load(studio: EditingStudio, part: str, kind: str) -> Any:
    import diffusers

    folder = studio.settings.models_dir / "sd15" / part
    return getattr(diffusers, kind).from_pretrained(folder, local_files_only=True)


def test_networks_with_wrapped_edges_do_not_know_where_the_edge_is(studio: EditingStudio) -> None:
    import torch

    from studio.pipelines.run.seamless import wrap_edges

    unet, vae = load(studio, "unet", "UNet2DConditionModel"), load(studio, "vae", "AutoencoderTiny")
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    text = torch.randn((1, 77, 32), generator=torch.Generator().manual_seed(2))

    def measure_shift() -> tuple[float, float]:
        """How far the answers to rolled latents are from the rolled answers."""
        rolled = latents.roll((2, 4), dims=(2, 3))
        with torch.inference_mode():
            noise, moved = (unet(one, 300, encoder_hidden_states=text).sample for one in (latents, rolled))
            image, shown = (vae.decode(one).sample for one in (latents, rolled))
        return (
            float((noise.roll((2, 4), dims=(2, 3)) - moved).abs().max()),
            float((image.roll((16, 32), dims=(2, 3)) - shown).abs().max()),
        )

    before = measure_shift()
    with wrap_edges(unet, vae):
        within = measure_shift()
    assert max(within) < 1e-4 < min(before)
    assert measure_shift() == before, "nothing is left behind"


@pytest.mark.parametrize("model", ["sd15", "xl"])
@pytest.mark.parametrize("task", [Task.TXT2IMG, Task.IMG2IMG])
def test_tiling_rescaling_and_freeu_change_a_drawing_and_leave_nothing_behind(
    studio: EditingStudio, model: str, task: Task
) -> None:
    plain = studio.draw_image(model, task)
    for fields in ({"tiling": True}, {"guidance_rescale": 0.7}, {"freeu": "1.5, 1.6, 0.9, 0.2"}):
        assert compute_difference(studio.draw_image(model, task, **fields), plain).any()
    assert studio.draw_image(model, task).tobytes() == plain.tobytes()


def test_rescaled_guidance_is_what_diffusers_computes(studio: EditingStudio) -> None:
    import torch
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    from studio.pipelines.run.guidance_rescale import rescale_guidance

    unet = load(studio, "unet", "UNet2DConditionModel")
    sample = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    text = torch.randn((2, 77, 32), generator=torch.Generator().manual_seed(2)).repeat_interleave(2, dim=0)

    def guide(answer: Any) -> Any:
        negative, positive = answer.chunk(2)
        return negative + 7.0 * (positive - negative), positive

    with torch.inference_mode():
        expected = rescale_noise_cfg(
            *guide(unet(torch.cat([sample] * 2), 300, encoder_hidden_states=text).sample), guidance_rescale=0.7
        )
        with rescale_guidance(unet, 7.0, 0.7, 2):
            found, _ = guide(unet(torch.cat([sample] * 2), 300, encoder_hidden_states=text).sample)
            alone = unet(sample, 300, encoder_hidden_states=text[:2]).sample
        assert torch.allclose(found, expected, atol=1e-4)
        assert torch.equal(alone, unet(sample, 300, encoder_hidden_states=text[:2]).sample), "without guidance as it is"

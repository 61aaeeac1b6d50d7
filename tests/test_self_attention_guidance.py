"""Self-attention guidance against diffusers' own pipeline, on tiny real checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from studio.core.request import GenerationRequest
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


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("halves", [True, False])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_guided_unet_draws_as_diffusers_pipeline_does(
    studio: EditingStudio, guidance: float, halves: bool, prediction: str
) -> None:
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionSAGPipeline

    from studio.pipelines.run.self_attention_guidance import guide_by_self_attention

    whole: Any = StableDiffusionPipeline.from_pretrained(studio.settings.models_dir / "sd15", local_files_only=True)
    parts = {name: part for name, part in whole.components.items() if name != "scheduler"}
    prompt, negative = torch.randn((2, 2, 77, 32), generator=torch.Generator().manual_seed(2))

    def draw(kind: Any, **fields: Any) -> Any:
        scheduler = DDIMScheduler.from_config(whole.scheduler.config, prediction_type=prediction)
        pipe = kind(**parts, scheduler=scheduler, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        return (
            pipe,
            lambda: (
                pipe(
                    prompt_embeds=prompt,
                    negative_prompt_embeds=negative,
                    num_inference_steps=4,
                    guidance_scale=guidance,
                    height=64,
                    width=64,
                    latents=torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(1)),
                    output_type="latent",
                    **fields,
                ).images
            ),
        )

    _, reference = draw(StableDiffusionSAGPipeline, sag_scale=0.75)
    pipe, own = draw(StableDiffusionPipeline)
    request = GenerationRequest(guidance=guidance, sag_scale=0.75, sag_blur=1.0)
    with torch.inference_mode():
        expected, plain = reference(), own()
        with guide_by_self_attention(pipe, pipe.unet.forward, request, 2, halves=halves):
            found = own()
        assert torch.equal(own(), plain)
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-3)


def test_images_too_small_to_be_blurred_stay(studio: EditingStudio) -> None:
    import torch
    from diffusers import DDIMScheduler, UNet2DConditionModel

    from studio.pipelines.run.self_attention_guidance import guide_by_self_attention

    unet: Any = UNet2DConditionModel.from_pretrained(
        studio.settings.models_dir / "sd15" / "unet", local_files_only=True
    )
    sample, text = torch.randn((2, 4, 4, 8)), torch.randn((2, 77, 32))
    request = GenerationRequest(guidance=5.0, sag_scale=1.0)
    pipe = SimpleNamespace(unet=unet, scheduler=DDIMScheduler())
    with torch.inference_mode():
        plain = unet(sample, 300, encoder_hidden_states=text).sample
        with guide_by_self_attention(pipe, unet.forward, request, 1, halves=True):
            assert torch.equal(unet(sample, 300, encoder_hidden_states=text).sample, plain)


@pytest.mark.parametrize("batch", [1, 4])
def test_of_tiles_each_is_blurred_where_the_model_looks_in_it(
    studio: EditingStudio, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tiles side by side are guided as two images are, with a blur that does not reach over their seam."""
    import torch
    from diffusers import DDIMScheduler, UNet2DConditionModel

    from studio.pipelines.run import self_attention_guidance
    from studio.pipelines.run.self_attention_guidance import guide_by_self_attention
    from studio.pipelines.run.tiled_diffusion import Tiles, draw_in_tiles

    unet: Any = UNet2DConditionModel.from_pretrained(
        studio.settings.models_dir / "sd15" / "unet", local_files_only=True
    )
    pipe = SimpleNamespace(unet=unet, scheduler=DDIMScheduler())
    monkeypatch.setattr(self_attention_guidance, "_blur", lambda latents, sigma: torch.zeros_like(latents))
    request = GenerationRequest(guidance=5.0, sag_scale=1.0)
    numbers = torch.Generator().manual_seed(1)
    left, right = torch.randn((2, 2, 4, 16, 16), generator=numbers)
    text = torch.randn((4, 77, 32), generator=numbers)

    def ask(latents: torch.Tensor) -> torch.Tensor:
        with guide_by_self_attention(pipe, unet.forward, request, 2, halves=True):
            return unet(torch.cat([latents] * 2), 300, encoder_hidden_states=text).sample

    with torch.inference_mode():
        apart = torch.cat([ask(left), ask(right)], dim=-1)
        with draw_in_tiles(unet, Tiles(16, 0, batch), lambda: None):
            together = ask(torch.cat([left, right], dim=-1))
            plain = unet(torch.cat([torch.cat([left, right], dim=-1)] * 2), 300, encoder_hidden_states=text).sample
    assert torch.allclose(together, apart, atol=1e-5)
    assert not torch.allclose(together, plain, atol=1e-3)


@pytest.mark.parametrize("model", ["sd15", "xl"])
@pytest.mark.parametrize("prompt", ["a red apple", "a red apple AND a blue bird"])
@pytest.mark.parametrize("task", [Task.TXT2IMG, Task.IMG2IMG])
def test_it_changes_a_drawing_also_beside_perturbed_attention_and_leaves_nothing_behind(
    studio: EditingStudio, model: str, prompt: str, task: Task
) -> None:
    plain = studio.draw_image(model, task, prompt=prompt)
    perturbed = studio.draw_image(model, task, prompt=prompt, pag_scale=5.0)
    assert compute_difference(studio.draw_image(model, task, prompt=prompt, sag_scale=3.0), plain).any()
    both = studio.draw_image(model, task, prompt=prompt, sag_scale=3.0, pag_scale=5.0)
    assert compute_difference(both, perturbed).any()
    assert studio.draw_image(model, task, prompt=prompt).tobytes() == plain.tobytes()

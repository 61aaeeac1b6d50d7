"""Skip-layer guidance of Stable Diffusion 3 against diffusers' own pipeline, on a tiny real checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from studio.core.errors import InvalidRequest
from studio.core.infotext import format_infotext, parse_infotext
from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.core.task import Task
from tests.editing_studio import EditingStudio, compute_difference, make_scene
from tests.tiny_families import make_tiny_sd3
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd3(root / "sd3", channels=16)
    make_tiny_sd15(root / "sd15")
    made = EditingStudio(root, {"source": make_scene()})
    yield made
    made.backend.close()


def test_a_guided_transformer_draws_as_diffusers_pipeline_does(studio: EditingStudio) -> None:
    import torch
    from diffusers import StableDiffusion3Pipeline

    from studio.pipelines.run.skip_layers import guide_by_skipped_layers

    pipe: Any = StableDiffusion3Pipeline.from_pretrained(studio.settings.models_dir / "sd3", local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    source = torch.Generator().manual_seed(2)
    prompt, negative = torch.randn((2, 2, 20, 64), generator=source)
    pooled, negative_pooled = torch.randn((2, 2, 64), generator=source)

    def draw(**fields: Any) -> Any:
        return pipe(
            prompt_embeds=prompt,
            negative_prompt_embeds=negative,
            pooled_prompt_embeds=pooled,
            negative_pooled_prompt_embeds=negative_pooled,
            num_inference_steps=6,
            guidance_scale=4.0,
            height=64,
            width=64,
            generator=torch.Generator().manual_seed(1),
            output_type="latent",
            **fields,
        ).images

    asked = GenerationRequest(guidance=4.0, skip_layers="0", skip_layer_scale=2.5, skip_layers_until=0.6)
    with torch.inference_mode():
        plain = draw()
        expected = draw(skip_guidance_layers=[0], skip_layer_guidance_scale=2.5, skip_layer_guidance_stop=0.6)
        with guide_by_skipped_layers(pipe, asked, 2):
            found = draw()
        assert torch.equal(draw(), plain)
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-3)


@pytest.mark.parametrize("task", [Task.TXT2IMG, Task.IMG2IMG])
def test_it_changes_a_drawing_and_leaves_nothing_behind(studio: EditingStudio, task: Task) -> None:
    fields: dict[str, Any] = {"guidance": 5.0, "strength": None if task is Task.TXT2IMG else 1.0}
    plain = studio.draw_image("sd3", task, **fields)
    guided = studio.draw_image("sd3", task, **fields, skip_layers="0", skip_layer_scale=8.0, skip_layers_until=1.0)
    assert compute_difference(guided, plain).any()
    assert studio.draw_image("sd3", task, **fields).tobytes() == plain.tobytes()


def test_layers_that_are_not_there_are_refused(studio: EditingStudio) -> None:
    with pytest.raises(InvalidRequest, match="no layer 7"):
        studio.draw_image("sd3", Task.TXT2IMG, guidance=5.0, skip_layers="0, 7")
    for text in ("seven", "1;2", "-1", "1,,2"):
        with pytest.raises(InvalidRequest, match="no layers"):
            GenerationRequest(skip_layers=text)
    described = {model.id: model for model in studio.backend.models()}
    described["sd3"].check(GenerationRequest(model="sd3", prompt="a", skip_layers="0"))
    with pytest.raises(InvalidRequest, match="skip layers"):
        described["sd15"].check(GenerationRequest(model="sd15", prompt="a", skip_layers="0"))


def test_they_are_written_and_read_back() -> None:
    asked = GenerationRequest(prompt="a", skip_layers="7, 8, 9", skip_layer_scale=3.0, skip_layers_until=0.15)
    text = format_infotext(asked, model=Model(id="m", title="M", family="sd3"), width=64, height=64, seed=5)
    found = parse_infotext(text)
    assert (found.request.skip_layers, found.request.skip_layer_scale) == ("7, 8, 9", 3.0)
    assert (found.request.skip_layers_until, found.unknown) == (0.15, {})

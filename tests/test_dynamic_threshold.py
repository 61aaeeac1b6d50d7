"""Dynamic thresholding: the arithmetic, at every kind of prediction, and drawings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from studio.core.request import GenerationRequest
from studio.core.task import Task
from tests.editing_studio import EditingStudio, compute_difference, make_scene
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch
STEP = 300


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditingStudio]:
    root = tmp_path_factory.mktemp("models")
    make_tiny_sd15(root / "sd15")
    make_tiny_sdxl(root / "xl")
    made = EditingStudio(root, {"source": make_scene()})
    yield made
    made.backend.close()


def make_scheduler(kind: str) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, prediction_type=kind
    )


def guide(kind: str, request: GenerationRequest) -> tuple[np.ndarray, ...]:
    """(the latents as the UNet sees them, its two answers, the guided one), of two images at step 300."""
    import torch

    from studio.pipelines.run.dynamic_threshold import threshold_guidance

    source = torch.Generator().manual_seed(4)
    latents, negative, positive = (torch.randn((2, 4, 8, 6), generator=source) for _ in range(3))

    class UNet:
        def __init__(self) -> None:
            self.forward = lambda sample, timestep, return_dict=True: (torch.cat([negative, positive]),)

    unet = UNet()
    with threshold_guidance(unet, make_scheduler(kind), request, 2):
        low, high = unet.forward(torch.cat([latents] * 2), torch.tensor(STEP), return_dict=False)[0].chunk(2)
    assert torch.equal(low, negative)
    guided = low + request.guidance * (high - low)
    return tuple(one.double().numpy() for one in (latents, negative, positive, guided))


def predict_clean(kind: str, latents: np.ndarray, answer: np.ndarray) -> np.ndarray:
    alpha = float(make_scheduler(kind).alphas_cumprod[STEP])
    if kind == "epsilon":
        return (latents - (1 - alpha) ** 0.5 * answer) / alpha**0.5
    return alpha**0.5 * latents - (1 - alpha) ** 0.5 * answer if kind == "v_prediction" else answer


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("percentile", [100.0, 95.0])
def test_the_guided_image_is_limited_channel_by_channel(kind: str, percentile: float) -> None:
    request = GenerationRequest(guidance=15.0, mimic_scale=5.0, threshold_percentile=percentile)
    latents, *answers = guide(kind, request)
    negative, positive, found = (predict_clean(kind, latents, one) for one in answers)
    for image in range(2):
        for channel in range(4):
            low, high = negative[image, channel], positive[image, channel]
            mimicked, guided = (low + scale * (high - low) for scale in (5.0, 15.0))
            peak = np.abs(mimicked - mimicked.mean()).max()
            around = guided - guided.mean()
            reach = max(peak, np.quantile(np.abs(around), percentile / 100))
            expected = np.clip(around, -reach, reach) / reach * peak + guided.mean()
            assert np.allclose(found[image, channel], expected, atol=2e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_mimicked_scale_that_is_the_guidance_changes_nothing(kind: str) -> None:
    _, negative, positive, found = guide(kind, GenerationRequest(guidance=7.0, mimic_scale=7.0))
    assert np.allclose(found, negative + 7.0 * (positive - negative), atol=1e-3)


@pytest.mark.parametrize("model", ["sd15", "xl"])
@pytest.mark.parametrize("task", [Task.TXT2IMG, Task.IMG2IMG])
def test_it_changes_a_drawing_and_leaves_nothing_behind(studio: EditingStudio, model: str, task: Task) -> None:
    plain = studio.draw_image(model, task, guidance=20.0)
    assert compute_difference(studio.draw_image(model, task, guidance=20.0, mimic_scale=3.0), plain).any()
    assert studio.draw_image(model, task, guidance=20.0).tobytes() == plain.tobytes()
    unguided = studio.draw_image(model, task, guidance=1.0)
    assert studio.draw_image(model, task, guidance=1.0, mimic_scale=3.0).tobytes() == unguided.tobytes()

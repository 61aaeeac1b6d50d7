"""Image k of a batch is the image of its own seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from studio.core.request import Hires
from studio.pipelines.run.image_noise import slerp
from studio.pipelines.run.noise import make_generators, patch_first_noise
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds
from tests.tiny_models import make_tiny_sd15

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return make_local_pipelines(root, FolderCatalog({"tiny": make_tiny_sd15(root / "tiny")}))


def pixels(tiny, request, which) -> list[np.ndarray]:
    backend, settings = tiny
    return [np.asarray(one.image, dtype=int) for one in backend.render(request, which, RecordingContext(settings))]


@pytest.mark.parametrize(
    "sampler",
    ["Euler", "Euler a", "DPM2 a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2S a", "DDPM", "LCM", "TCD", "SA-Solver"],
)
def test_a_batch_of_four_is_four_images_alone(tiny, sampler: str) -> None:
    request = make_request(sampler=sampler, steps=4)
    together = pixels(tiny, request, make_seeds(5, 6, 7, 8))
    alone = [pixels(tiny, request, make_seeds(seed))[0] for seed in (5, 6, 7, 8)]
    assert max(np.abs(a - b).max() for a, b in zip(together, alone, strict=True)) <= 2
    assert (together[0] != together[1]).any()


def test_hires_keeps_images_apart_from_their_batch(tiny) -> None:
    request = make_request(sampler="Euler a", hires=Hires(upscaler="Latent", strength=0.6))
    together = pixels(tiny, request, make_seeds(1, 2))
    assert np.abs(together[1] - pixels(tiny, request, make_seeds(2))[0]).max() <= 2


def test_noise_itself_is_equal_bit_by_bit() -> None:
    import torch
    from diffusers.utils.torch_utils import randn_tensor

    batch = randn_tensor((4, 4, 8, 8), generator=make_generators([1, 2, 3, 4]))
    assert torch.equal(batch[2:3], randn_tensor((1, 4, 8, 8), generator=make_generators([3])))


def test_variation_leans_from_one_seed_to_the_other(tiny) -> None:
    request = make_request(sampler="Euler", steps=3)
    start, end = (pixels(tiny, request, make_seeds(seed))[0] for seed in (1, 9))
    distances = []
    for strength in (0.01, 0.5, 1.0):
        varied = pixels(tiny, request.replace(variation_strength=strength), make_seeds(1, variation=9))[0]
        distances.append((np.abs(varied - start).mean(), np.abs(varied - end).mean()))
    assert distances[0][0] < distances[1][0] < distances[2][0]
    assert distances[0][1] > distances[1][1] > distances[2][1]
    assert distances[2][1] < 0.5, "all the way is the other seed"


def test_variation_acts_on_the_hires_pass_and_on_its_own_seed_alone(tiny) -> None:
    request = make_request(hires=Hires(upscaler="Lanczos", strength=0.9))
    plain = pixels(tiny, request, make_seeds(1))[0]
    assert (pixels(tiny, request.replace(variation_strength=0.7), make_seeds(1, variation=9))[0] != plain).any()
    same = pixels(tiny, request.replace(variation_strength=0.7), make_seeds(1, variation=1))[0]
    assert np.abs(same - plain).max() <= 1, "leaning towards itself changes nothing"


def test_slerp_keeps_the_length_of_noise() -> None:
    import torch

    low, high = (torch.randn((1, 4, 64, 64), generator=one) for one in make_generators([1, 2]))
    assert abs(float(slerp(low, high, 0.5).std()) - 1) < 0.03


class PlainScheduler:
    """Adds numbers in the place of latents."""

    def add_noise(self, original_samples: float, noise: float, timesteps: float) -> float:
        return original_samples + noise * timesteps


def test_two_changes_of_the_first_noise_are_both_made_once() -> None:
    scheduler: Any = PlainScheduler()
    patch_first_noise(scheduler, lambda latents, noise: (latents, noise + 1))
    patch_first_noise(scheduler, lambda latents, noise: (latents * 2, noise))
    assert scheduler.add_noise(10, 1, 3) == 10 * 2 + (1 + 1) * 3
    assert scheduler.add_noise(10, noise=1, timesteps=3) == 10 + 1 * 3

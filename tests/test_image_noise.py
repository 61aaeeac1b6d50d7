"""The noise of an image as other programs draw it, and the images that come of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest, Hires
from studio.core.request_choices import NoiseSource
from studio.core.task import Task
from studio.engine.jobs.passes import plan_images
from studio.engine.jobs.prompt_drawing import draw_prompts
from studio.pipelines.run.formula_table import FORMULAS
from studio.pipelines.run.image_noise import ImageNoise, NoiseAnswers
from studio.pipelines.run.noise import make_generators
from studio.pipelines.run.philox import draw_normals
from studio.pipelines.run.samplers import make_scheduler
from studio.prompting.wildcards import Wildcards
from tests.local_models import FolderCatalog, RecordingContext, make_local_pipelines, make_request
from tests.test_samplers import SD15
from tests.tiny_models import make_tiny_sd15

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, on rounding in the seventh digit
]
SHAPE = (4, 8, 8)
COUNT = 4 * 8 * 8
ELSEWHERE = [
    {"noise_source": NoiseSource.NV},
    {"noise_source": NoiseSource.COMFYUI},
    {"noise_seed_delta": 31337},
    {"seed_resize": "128x64"},
]


def make_noise(seed: ImageSeed, **fields: Any) -> ImageNoise:
    return ImageNoise(seed, GenerationRequest(**fields), 8)


def draw_on_card(seed: int, draw: int, start: int = 0, shape: tuple[int, ...] = SHAPE) -> Any:
    import torch

    return torch.from_numpy(draw_normals(seed, draw, int(np.prod(shape)), start)).reshape(shape)


def draw_on_cpu(seed: int, *shapes: tuple[int, ...]) -> list[Any]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_nv_draws_first_noise_and_steps_from_one_generator_of_the_image() -> None:
    noise = make_noise(ImageSeed(seed=5), noise_source=NoiseSource.NV)
    for number in range(3):
        assert noise.draw(SHAPE).equal(draw_on_card(5, number))


@pytest.mark.parametrize("place", [0, 2])
def test_comfyui_draws_a_batch_from_one_generator_and_steps_on_the_card(place: int) -> None:
    noise = make_noise(ImageSeed(seed=5, batch_index=place), noise_source=NoiseSource.COMFYUI)
    (batch,) = draw_on_cpu(5, (3, *SHAPE))
    assert noise.draw(SHAPE).equal(batch[place])
    for number in range(2):
        assert noise.draw(SHAPE).equal(draw_on_card(5, number, place * COUNT))


def test_a_seed_delta_changes_what_comes_after_the_first_noise() -> None:
    noise = make_noise(ImageSeed(seed=5), noise_seed_delta=100)
    assert noise.draw(SHAPE).equal(draw_on_cpu(5, SHAPE)[0])
    later = draw_on_cpu(105, SHAPE, SHAPE)
    assert noise.draw(SHAPE).equal(later[0])
    assert noise.draw(SHAPE).equal(later[1])


@pytest.mark.parametrize(
    ("size", "drawn", "into", "out_of"),
    [
        ("48x32", (4, 4, 6), (slice(2, 6), slice(1, 7)), (slice(None), slice(None))),
        ("96x64", (4, 8, 12), (slice(None), slice(None)), (slice(None), slice(2, 10))),
    ],
)
def test_a_resized_seed_keeps_its_noise_in_the_middle(size: str, drawn: Any, into: Any, out_of: Any) -> None:
    noise = make_noise(ImageSeed(seed=5), seed_resize=size).draw(SHAPE)
    (inner,), (outer,) = draw_on_cpu(5, drawn), draw_on_cpu(5, SHAPE)
    assert noise[:, into[0], into[1]].equal(inner[:, out_of[0], out_of[1]])
    outside = np.ones(SHAPE, dtype=bool)
    outside[:, into[0], into[1]] = False
    assert np.array_equal(noise.numpy()[outside], outer.numpy()[outside])


def test_a_variation_leans_between_noises_of_the_source() -> None:
    seed = ImageSeed(seed=5, variation=9)
    there = make_noise(seed, noise_source=NoiseSource.NV, variation_strength=1.0).draw(SHAPE)
    assert np.allclose(there, draw_on_card(9, 0), atol=1e-5)
    halfway = make_noise(seed, noise_source=NoiseSource.NV, variation_strength=0.5).draw(SHAPE)
    assert not np.allclose(halfway, there)


def predict_clean(x: Any, level: float) -> Any:
    return x / (1 + level**2) + 0.5 * (x + 1).sin() / (1 + level)


def run_steered(sampler: str, seeds: list[ImageSeed], **fields: Any) -> tuple[Any, Any]:
    """(the final latents, the scheduler) of a run whose noise comes from elsewhere, without a pipeline."""
    import torch

    request = GenerationRequest(**fields)
    scheduler = make_scheduler(sampler, "Karras", SD15)
    scheduler.set_timesteps(6)
    scheduler.noise_sampler_seed = [seed.seed for seed in seeds]
    if request.noise_source is NoiseSource.COMFYUI:
        scheduler.batch_positions = [seed.batch_index for seed in seeds]
    generators = make_generators([seed.seed for seed in seeds])
    noises = [ImageNoise(seed, request, 8) for seed in seeds]
    step = NoiseAnswers(noises, generators, request.noise_source).apply(scheduler.step)
    latents = torch.stack([noise.draw_first(SHAPE) for noise in noises]) * scheduler.init_noise_sigma
    for level, timestep in zip(scheduler.sigmas.tolist(), scheduler.timesteps, strict=False):
        output = (latents - predict_clean(latents, level)) / level
        latents = step(output, timestep, latents, generator=generators, return_dict=False)[0]
    return latents, scheduler


def follow(sampler: str, latents: Any, levels: Any, noise: Any) -> Any:
    """The final latents of the formula itself, given its noise."""
    steps = FORMULAS[sampler].formula(latents, levels, noise)
    x, level = next(steps)
    while True:
        try:
            x, level = steps.send((x, predict_clean(x, level)))
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("sampler", ["Euler a", "DPM2 a", "DPM++ 2S a"])
def test_ancestral_steps_take_the_cards_noise_in_its_order(sampler: str) -> None:
    drawn, scheduler = run_steered(sampler, [ImageSeed(seed=5)], noise_source=NoiseSource.NV)
    numbers = iter(range(1, 100))
    first = draw_on_card(5, 0)[None] * scheduler.init_noise_sigma
    expected = follow(sampler, first, scheduler._levels, lambda now, then: draw_on_card(5, next(numbers))[None])
    assert np.allclose(drawn, expected, atol=1e-4)


@pytest.mark.parametrize("sampler", ["DPM++ SDE", "DPM++ 2M SDE", "DPM++ 3M SDE"])
def test_brownian_noise_grows_from_the_cards_numbers(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTOMATIC1111 puts its noise source in the place of the function that torchsde draws with."""
    from torchsde._brownian import brownian_interval

    drawn, scheduler = run_steered(sampler, [ImageSeed(seed=5), ImageSeed(seed=6)], noise_source=NoiseSource.NV)
    plain = make_scheduler(sampler, "Karras", SD15)
    plain.set_timesteps(6)
    plain.noise_sampler_seed = [5, 6]
    monkeypatch.setattr(
        brownian_interval, "_randn", lambda size, dtype, device, seed: draw_on_card(int(seed), 0, shape=tuple(size))
    )
    import torch

    first = torch.stack([draw_on_card(5, 0), draw_on_card(6, 0)]) * scheduler.init_noise_sigma
    expected = follow(sampler, first, scheduler._levels, lambda now, then: plain._draw_brownian(first, now, then))
    assert np.allclose(drawn, expected, atol=1e-4)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M SDE"])
def test_an_image_of_comfyuis_batch_is_the_same_alone(sampler: str) -> None:
    batch = [ImageSeed(seed=5, batch_index=place) for place in range(3)]
    together, _ = run_steered(sampler, batch, noise_source=NoiseSource.COMFYUI)
    alone, _ = run_steered(sampler, batch[2:], noise_source=NoiseSource.COMFYUI)
    assert np.allclose(together[2:], alone, atol=1e-4)
    assert not np.allclose(together[0], together[1], atol=1e-2)


def test_comfyui_scales_the_first_noise_to_the_spread_of_a_noisy_image() -> None:
    scheduler = make_scheduler("Euler", "Karras", SD15)
    level = scheduler.init_noise_sigma
    scheduler.batch_positions = [0]
    assert scheduler.init_noise_sigma == pytest.approx((level**2 + 1) ** 0.5)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return make_local_pipelines(root, FolderCatalog({"tiny": make_tiny_sd15(root / "tiny")}))


def draw_images(tiny: Any, request: GenerationRequest) -> list[np.ndarray]:
    backend, settings = tiny
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    half = Image.new("L", (64, 64))
    half.paste(255, (0, 0, 32, 64))
    context = RecordingContext(settings, images={"image": image, "half": half})
    seeds = [image.seed for image in plan_images(request)]
    return [np.asarray(one.image, dtype=int) for one in backend.render(request, seeds, context)]


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=lambda fields: next(iter(fields)) + str(*fields.values()))
@pytest.mark.parametrize(
    "task",
    [
        {},
        {"hires": Hires(upscaler="Latent", strength=0.6)},
        {"task": Task.IMG2IMG, "source": "image", "strength": 0.7},
        {"task": Task.INPAINT, "source": "image", "mask": "half", "strength": 1.0},
    ],
    ids=["txt2img", "hires", "img2img", "inpaint"],
)
def test_every_task_draws_from_the_source_and_an_image_is_the_same_alone(tiny, task: Any, elsewhere: Any) -> None:
    request = make_request(sampler="Euler a", steps=4, seed=5, count=2, **task)
    plain = draw_images(tiny, request)
    steered = draw_images(tiny, request.replace(**elsewhere))
    assert (steered[1] != plain[1]).any()
    assert (steered[0] != steered[1]).any()
    other = {"batch_index": 1} if elsewhere.get("noise_source") is NoiseSource.COMFYUI else {"seed": 6}
    alone = draw_images(tiny, request.replace(**elsewhere, **other, count=1))
    assert np.abs(steered[1] - alone[0]).max() <= 2


def test_samplers_of_diffusers_draw_from_the_source_too(tiny) -> None:
    request = make_request(sampler="LCM", steps=4, seed=5)
    plain, delta = draw_images(tiny, request)[0], draw_images(tiny, request.replace(noise_seed_delta=7))[0]
    assert (plain != delta).any()


def test_images_of_comfyuis_batch_share_the_seed_and_count_their_places() -> None:
    request = GenerationRequest(seed=5, count=3, noise_source=NoiseSource.COMFYUI, batch_index=2)
    assert [image.seed for image in plan_images(request)] == [
        ImageSeed(seed=5, batch_index=place) for place in (2, 3, 4)
    ]


def test_dynamic_prompts_differ_within_comfyuis_batch() -> None:
    request = GenerationRequest(
        prompt="{a|b|c|d|e|f|g|h}", seed=5, count=6, noise_source=NoiseSource.COMFYUI, batch_index=1
    )
    drawn = draw_prompts(request, Wildcards()).drawn
    assert len(set(drawn)) > 2

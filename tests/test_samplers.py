"""The samplers and the schedules that the tables offer."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.task import Task
from studio.pipelines.families._clip import UNetTraining
from studio.pipelines.run.cfg_plus_plus import raise_guidance, split_guidance
from studio.pipelines.run.formula_table import ADAPTIVE_FORMULAS, FORMULAS, UNGUIDED_SAMPLERS
from studio.pipelines.run.noise_levels import SCHEDULES, make_bong_tangent_levels
from studio.pipelines.run.samplers import DIFFUSION_SAMPLERS, FLOW_SAMPLERS, make_scheduler
from tests.local_models import EMBEDDED, FolderCatalog, RecordingContext, make_local_pipelines, make_request, make_seeds

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:Should have t:UserWarning"),  # torchsde, on rounding in the seventh digit
]

SD15 = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
COMBINATIONS = [  # a third, in which every sampler and every schedule is met: neither knows of the other
    (sampler, schedule)
    for place, (sampler, schedules) in enumerate(DIFFUSION_SAMPLERS.items())
    for number, schedule in enumerate(schedules)
    if schedule == "Automatic" or (place + number) % 3 == 0
]
# k-diffusion's formulas all walk the same levels, so that each schedule is drawn with one of them, in turn.
WALKERS = dict(zip(SCHEDULES, itertools.cycle(FORMULAS)))
DRAWN = [
    (sampler, schedule)
    for sampler, schedules in DIFFUSION_SAMPLERS.items()
    for schedule in schedules
    if schedule == "Automatic" or sampler not in {*FORMULAS, *ADAPTIVE_FORMULAS} or WALKERS[schedule] == sampler
]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return make_local_pipelines(tmp_path_factory.mktemp("models"), FolderCatalog({"embedded": EMBEDDED}))


def draw(embedded, sampler: str, schedule: str, steps: int) -> np.ndarray:
    backend, settings = embedded
    ctx = RecordingContext(settings)
    request = make_request("embedded", steps=steps, guidance=1.0, sampler=sampler, schedule=schedule)
    image = np.asarray(backend.render(request, make_seeds(1), ctx)[0].image, dtype=float)
    assert ctx.steps[-1] == (steps, steps)
    return image


@pytest.fixture(scope="module")
def drawn(embedded) -> dict[str, np.ndarray]:
    """The image of each sampler on its automatic schedule; third order shows from the sixth step on."""
    return {sampler: draw(embedded, sampler, "Automatic", 6) for sampler in DIFFUSION_SAMPLERS}


@pytest.mark.parametrize(("sampler", "schedule"), DRAWN)
def test_draws_on_the_embedded_model(embedded, drawn, sampler: str, schedule: str) -> None:
    image = drawn[sampler] if schedule == "Automatic" else draw(embedded, sampler, schedule, 4)
    assert image.shape == (64, 64, 3)
    assert image.std() > 4, "flat: not an image, or not finite before it became one"
    assert image.std() < 120


@pytest.mark.parametrize(("sampler", "schedule"), COMBINATIONS)
def test_every_schedule_leads_every_sampler_from_noise_to_latents(sampler: str, schedule: str) -> None:
    """A model that knows the answer is followed to it."""
    import torch

    clean = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(5))
    levels = np.log(np.sqrt(1 / compute_alphas() - 1))

    def predict_noise(seen: Any, timestep: Any) -> Any:
        level = float(np.exp(np.interp(float(timestep), np.arange(1000), levels)))
        return (seen * (1 + level**2) ** 0.5 - clean) / level

    timesteps, latents = walk(sampler, 4, schedule, predict_noise)
    assert len(timesteps) >= 4
    assert np.abs(latents - clean.numpy()).max() < 0.7, "PLMS is the farthest at four steps; the noise was 14.6"


def test_samplers_differ(drawn) -> None:
    same = [(a, b) for a in drawn for b in drawn if a < b and np.array_equal(drawn[a], drawn[b])]
    # DDPM's ancestral step and Euler a are one process in two coordinates; after rounding they may agree to the byte.
    # Below 20 steps Restart never restarts: it is Heun's method then.
    assert set(same) <= {("DDPM", "Euler a"), ("Heun", "Restart")}, same


@pytest.mark.parametrize(("sampler", "schedule"), [(s, x) for s, schedules in FLOW_SAMPLERS.items() for x in schedules])
@pytest.mark.parametrize(
    "shift", [{"shift": 3.0}, {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}]
)
def test_flow_samplers_reach_the_clean_image(sampler: str, schedule: str, shift: dict) -> None:
    """A model that knows the answer is followed to it: velocity = noise - clean."""
    import torch

    scheduler = make_scheduler(sampler, schedule, {"_class_name": "FlowMatchEulerDiscreteScheduler", **shift})
    mu = {"mu": 0.8} if "use_dynamic_shifting" in shift else {}
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 6, 6), device="cpu", **mu)
    source = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn((1, 4, 8, 8), generator=source) for _ in range(2))
    sample = noise
    for timestep in scheduler.timesteps:
        sample = scheduler.step(noise - clean, timestep, sample, return_dict=False)[0]
    assert torch.allclose(sample, clean, atol=0.02)
    assert bool(scheduler.config.get("use_dynamic_shifting")) == bool(mu), (
        "the pipeline decides by it whether to send mu"
    )


@pytest.mark.parametrize("sampler", FLOW_SAMPLERS)
@pytest.mark.parametrize(
    ("schedule", "levels"),
    [  # recorded from RES4LYF's and Genmo's formulas
        ("Bong Tangent", [1.0, 0.971344, 0.929423, 0.862888, 0.7443, 0.5, 0.213122, 0.069646, 0.0]),
        ("Linear Quadratic", [1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0]),
    ],
)
def test_some_schedules_of_flow_models_know_of_no_shift(sampler: str, schedule: str, levels: list[float]) -> None:
    scheduler = make_scheduler(sampler, schedule, {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0})
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 8, 8), device="cpu")
    np.testing.assert_allclose(scheduler.sigmas.numpy(), levels, atol=1e-6)
    np.testing.assert_allclose(scheduler.timesteps.numpy(), np.array(levels[:-1]) * 1000, rtol=1e-5)


def test_one_step_takes_the_whole_way() -> None:
    assert make_bong_tangent_levels(1) == [1.0, 0.0]
    assert make_bong_tangent_levels(2) == pytest.approx([1.0, 0.5, 0.0])


def test_checkpoints_own_training_is_kept() -> None:
    config = {**SD15, "prediction_type": "v_prediction", "beta_end": 0.02, "rescale_betas_zero_snr": True}
    scheduler = make_scheduler("Euler", "Karras", config)
    assert scheduler.config.prediction_type == "v_prediction"
    assert (scheduler.config.beta_end, scheduler.config.rescale_betas_zero_snr) == (0.02, True)


def test_automatic_is_karras_for_dpmpp_2m_and_trailing_for_checkpoints_trained_so() -> None:
    assert make_scheduler("DPM++ 2M", "Automatic", SD15).config.schedule == "Karras"
    trailing = make_scheduler("DPM++ 2M", "Automatic", {**SD15, "timestep_spacing": "trailing"})
    assert trailing.config.schedule == "SGM Uniform"


def test_karras_covers_the_noise_range_that_users_know() -> None:
    """Stable Diffusion 1.5: 14.61 to 0.029 with exponent 7, as k-diffusion has it."""
    scheduler = make_scheduler("Euler a", "Karras", SD15)
    scheduler.set_timesteps(5)
    low, high = 0.0292 ** (1 / 7), 14.6146 ** (1 / 7)
    expected = [(high + fraction * (low - high)) ** 7 for fraction in np.linspace(0, 1, 5)]
    assert np.allclose(scheduler.sigmas[:-1], expected, rtol=2e-3)
    assert scheduler.sigmas[-1] == 0


def test_align_your_steps_is_nvidias_table() -> None:
    scheduler = make_scheduler("DPM++ 2M", "Align Your Steps", SD15)
    scheduler.set_timesteps(11)
    table = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
    assert np.allclose(scheduler.sigmas[:-1], table)


@pytest.mark.parametrize(
    ("sampler", "schedule", "named"), [("Nope", "Karras", "Euler a"), ("DDIM", "Karras", "SGM Uniform")]
)
def test_what_does_not_exist_is_refused_with_what_does(sampler: str, schedule: str, named: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        make_scheduler(sampler, schedule, SD15)
    assert named in refused.value.hint


def test_each_scheduler_is_fresh() -> None:
    assert make_scheduler("Euler", "Karras", SD15) is not make_scheduler("Euler", "Karras", SD15)


def test_tables_need_no_torch() -> None:
    code = (
        "import sys, studio.pipelines.run.samplers, studio.pipelines.local_backend; sys.exit('torch' in sys.modules or"
        " 'diffusers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def predict_half(seen: Any, timestep: Any) -> Any:
    return seen / 2


def walk(
    sampler: str, steps: int, schedule: str = "Automatic", predict_noise: Callable[[Any, Any], Any] = predict_half
) -> tuple[list[float], np.ndarray]:
    """The timesteps of `sampler`, and the final latents of a model that answers as `predict_noise` does."""
    import torch

    scheduler = make_scheduler(sampler, schedule, SD15)
    scheduler.set_timesteps(steps)
    scheduler.noise_sampler_seed = [3]
    latents = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(3)) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(predict_noise(seen, timestep), timestep, latents, return_dict=False)[0]
        if getattr(scheduler, "is_finished", False):
            break
    return [round(float(one), 3) for one in scheduler.timesteps], latents.double().numpy()


def compute_alphas() -> np.ndarray:
    betas = np.linspace(SD15["beta_start"] ** 0.5, SD15["beta_end"] ** 0.5, 1000) ** 2
    return np.cumprod(1 - betas)


def draw_unit_noise() -> np.ndarray:
    import torch

    return torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(3)).double().numpy()


@pytest.mark.parametrize("steps", [1, 10, 20, 30])
def test_ddim_on_automatic_walks_the_timesteps_of_automatic1111(steps: int) -> None:
    """Every 1000 // n timesteps from 1 up, down to the lowest, where a call that moves nothing may fill up the number;
    in the coordinates of its own paper."""
    timesteps, found = walk("DDIM", steps)
    places = [place + 1 for place in range(0, 1000, 1000 // steps)][::-1]
    places = places if len(places) > 1 else [999, *places]
    assert timesteps == places[:-1] + places[-1:] * (steps + 1 - len(places))
    alphas, latents = compute_alphas(), draw_unit_noise()
    for now, then in itertools.pairwise(places):
        noise = latents / 2
        clean = (latents - (1 - alphas[now]) ** 0.5 * noise) / alphas[now] ** 0.5
        latents = alphas[then] ** 0.5 * clean + (1 - alphas[then]) ** 0.5 * noise
    assert np.allclose(found, latents, rtol=1e-3, atol=1e-4)


def test_plms_on_automatic_walks_the_timesteps_of_automatic1111() -> None:
    """The first step has a second call; then four slopes of Adams and Bashforth."""
    timesteps, found = walk("PLMS", 10)
    places = [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert timesteps == [901, 801, *places[1:-1]]
    alphas, latents, noises = compute_alphas(), draw_unit_noise(), []

    def move(noise: np.ndarray, now: int, then: int) -> np.ndarray:
        clean = (latents - (1 - alphas[now]) ** 0.5 * noise) / alphas[now] ** 0.5
        return alphas[then] ** 0.5 * clean + (1 - alphas[then]) ** 0.5 * noise

    weights = ([3, -1], [23, -16, 5], [55, -59, 37, -9])
    for now, then in itertools.pairwise(places):
        noises = [latents / 2, *noises[:3]]
        if len(noises) == 1:
            mixed = (noises[0] + move(noises[0], now, then) / 2) / 2
        else:
            row = weights[len(noises) - 2]
            mixed = np.sum([weight * noise for weight, noise in zip(row, noises, strict=True)], axis=0) / sum(row)
        latents = move(mixed, now, then)
    assert np.allclose(found, latents, rtol=1e-3, atol=1e-4)


def test_cfg_plus_plus_adds_the_noise_back_that_is_seen_without_the_prompt() -> None:
    """AUTOMATIC1111's `ddim_cfgpp`: a scale of 5 is 0.4, and the noise is the negative prompt's."""
    import torch

    scheduler = make_scheduler("DDIM CFG++", "Automatic", SD15)
    scheduler.set_timesteps(10)
    latents = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(3)) * scheduler.init_noise_sigma
    unet = SimpleNamespace(
        config=SimpleNamespace(time_cond_proj_dim=None),
        forward=lambda sample, timestep, return_dict: (torch.cat([sample[:1] / 3, sample[1:] / 2]),),
    )
    with split_guidance(unet, scheduler, 1, 5.0):
        for timestep in scheduler.timesteps:
            seen = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
            negative, positive = unet.forward(seen, timestep, return_dict=False)[0].chunk(2)
            guided = negative + 5 * (positive - negative)
            latents = scheduler.step(guided, timestep, latents, return_dict=False)[0]
    alphas, expected = compute_alphas(), draw_unit_noise()
    for now, then in itertools.pairwise([901, 801, 701, 601, 501, 401, 301, 201, 101, 1]):
        noise = expected / 3 + 5 / 12.5 * (expected / 2 - expected / 3)
        clean = (expected - (1 - alphas[now]) ** 0.5 * noise) / alphas[now] ** 0.5
        expected = alphas[then] ** 0.5 * clean + (1 - alphas[then]) ** 0.5 * expected / 3
    assert np.allclose(latents.double().numpy(), expected, rtol=1e-3, atol=1e-4)


def test_adaptive_steps_do_not_depend_on_the_images_beside(embedded) -> None:
    backend, settings = embedded

    def draw(*seeds: int) -> list[bytes]:
        request = make_request("embedded", guidance=3.0, sampler="DPM adaptive", batch_size=len(seeds))
        drawn = backend.render(request, make_seeds(*seeds), RecordingContext(settings))
        return [one.image.tobytes() for one in drawn]

    assert draw(1, 2) == [*draw(1), *draw(2)]


def test_adaptive_steps_draw_over_an_image_as_far_as_asked(embedded) -> None:
    backend, settings = embedded
    source = Image.linear_gradient("L").resize((64, 64)).convert("RGB")

    def measure_change(strength: float) -> float:
        ctx = RecordingContext(settings, images={"source": source})
        request = make_request(
            "embedded", task=Task.IMG2IMG, source="source", steps=10, sampler="DPM adaptive", strength=strength
        )
        drawn = backend.render(request, make_seeds(1), ctx)[0].image
        steps = [done for done, _ in ctx.steps]
        assert steps == sorted(steps)
        assert ctx.steps[-1][0] == ctx.steps[-1][1]
        return float(np.abs(np.asarray(drawn, dtype=float) - np.asarray(source, dtype=float)).mean())

    assert measure_change(0.3) < measure_change(0.9)


def test_checkpoints_for_instructions_have_no_sampler_that_their_pipeline_cannot_follow() -> None:
    assert set(DIFFUSION_SAMPLERS) - set(UNetTraining(place=2).combinations) == {"DPM adaptive", *UNGUIDED_SAMPLERS}
    assert UNetTraining().combinations == dict(DIFFUSION_SAMPLERS)


def test_cfg_plus_plus_is_ddim_without_guidance_and_another_sampler_with_it(embedded) -> None:
    assert np.allclose(walk("DDIM CFG++", 10)[1], walk("DDIM", 10)[1], atol=1e-6)
    backend, settings = embedded

    def draw(sampler: str, guidance: float) -> bytes:
        request = make_request("embedded", steps=6, guidance=guidance, sampler=sampler)
        return backend.render(request, make_seeds(1), RecordingContext(settings))[0].image.tobytes()

    drawn = {draw(sampler, guidance) for sampler in ("DDIM", "DDIM CFG++") for guidance in (1.0, 3.0, 9.0)}
    assert len(drawn) == 6


@pytest.mark.parametrize(("sampler", "last"), [("DDIM", 0.0413), ("PLMS", 0.0413), ("UniPC", 0.0292)])
def test_an_image_drawn_over_takes_the_last_timesteps(sampler: str, last: float) -> None:
    """Half the steps of a model that knows the answer arrive at it."""
    import torch

    scheduler = make_scheduler(sampler, "Automatic", SD15)
    scheduler.set_timesteps(20)
    clean = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(1))
    noise = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(2))
    scheduler.set_begin_index(10)
    latents = scheduler.add_noise(clean, noise, scheduler.timesteps[10:11])
    for timestep in scheduler.timesteps[10:]:
        scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(noise, timestep, latents, return_dict=False)[0]
    assert torch.allclose(latents, clean + noise * last, atol=5e-3)


def test_unipc_on_automatic_ends_at_the_lowest_level_of_the_checkpoint() -> None:
    scheduler = make_scheduler("UniPC", "Automatic", SD15)
    scheduler.set_timesteps(20)
    assert np.allclose(scheduler.timesteps, np.linspace(999, 0, 21)[:-1], atol=1e-2)
    alphas = compute_alphas()
    assert np.allclose(scheduler.sigmas[[0, -1]], ((1 - alphas[[999, 0]]) / alphas[[999, 0]]) ** 0.5, rtol=1e-4)


def test_a_recipe_of_automatic1111_names_no_schedule_for_what_has_timesteps_of_its_own() -> None:
    from studio.core.infotext import parse_infotext

    for sampler in ("DDIM", "DDIM CFG++", "PLMS", "UniPC"):
        text = f"a\nSteps: 20, Sampler: {sampler}, Schedule type: Karras, Seed: 5, Size: 64x64, Version: v1.10.1"
        assert (parse_infotext(text).request.sampler, parse_infotext(text).request.schedule) == (sampler, None)
        if sampler == "DDIM CFG++":
            continue  # it has no other steps here either
        own = text.replace("v1.10.1", "easel 0.1")
        assert parse_infotext(own).request.schedule == "Karras"


@pytest.mark.parametrize("sampler", ["DDIM", "DDIM CFG++", "PLMS", "UniPC"])
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 150, 1000])
def test_there_is_a_timestep_for_every_step_that_a_pipeline_may_begin_with(sampler: str, steps: int) -> None:
    scheduler = make_scheduler(sampler, "Automatic", SD15)
    scheduler.set_timesteps(steps)
    assert len(scheduler.timesteps) >= steps


def test_lcm_over_a_schedule_calls_at_the_timesteps_that_it_is_distilled_at() -> None:
    alphas = compute_alphas()[19::20]
    levels = ((1 - alphas) / alphas) ** 0.5
    for schedule in ("Uniform", "Karras", "SGM Uniform", "DDIM"):
        scheduler = make_scheduler("LCM", schedule, SD15)
        scheduler.set_timesteps(8)
        assert all(int(one) % 20 == 19 for one in scheduler.timesteps)
        assert levels[0] * 0.99 < float(scheduler.sigmas[-2]) < float(scheduler.sigmas[0]) < levels[-1] * 1.01
    assert "LCMScheduler" in type(make_scheduler("LCM", "Automatic", SD15)).__name__


def test_lcm_over_a_schedule_takes_the_prediction_and_fresh_noise_as_automatic1111_does() -> None:
    import torch

    scheduler = make_scheduler("LCM", "Uniform", SD15)
    scheduler.set_timesteps(4)
    source, again = (torch.Generator().manual_seed(3) for _ in range(2))
    latents = torch.randn((1, 4, 4, 4), generator=source) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(seen / 2, timestep, latents, generator=source, return_dict=False)[0]
    alphas = compute_alphas()[19::20]
    logs = np.log((1 - alphas) / alphas) / 2
    levels = [*np.exp(np.interp(np.linspace(49, 0, 4), np.arange(50), logs)), 0.0]
    expected = torch.randn((1, 4, 4, 4), generator=again).double().numpy() * levels[0]
    for now, then in itertools.pairwise(levels):
        time = 10 * (20 * int(np.abs(logs - np.log(now)).argmin()) + 19)
        predicted = expected - now * expected / (now**2 + 1) ** 0.5 / 2
        expected = (time * predicted + 0.25 / (time**2 + 0.25) ** 0.5 * expected) / (time**2 + 0.25) ** 0.5
        if then > 0:
            expected = expected + then * torch.randn((1, 4, 4, 4), generator=again).double().numpy()
    assert np.allclose(latents.double().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_recipe_of_automatic1111_without_a_schedule_for_lcm_takes_the_uniform_one() -> None:
    from studio.core.infotext import parse_infotext

    text = "a\nSteps: 4, Sampler: LCM, Schedule type: {}, Seed: 5, Size: 64x64, Version: {}"
    assert parse_infotext(text.format("Automatic", "v1.10.1")).request.schedule == "Uniform"
    assert parse_infotext(text.format("Karras", "v1.10.1")).request.schedule == "Karras"
    assert parse_infotext(text.format("Automatic", "easel 0.1")).request.schedule in (None, "Automatic")


def test_cfg_plus_plus_reads_the_scale_as_comfyui_does_and_guides_below_one_too() -> None:
    """Its `euler_cfg_pp`: the prediction by the scale, and noise along the way from that of the negative prompt."""
    import torch

    for guidance in (0.6, 1.0, 3.0):
        scheduler = make_scheduler("Euler CFG++", "Karras", SD15)
        scheduler.set_timesteps(6)
        latents = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(3)) * scheduler.init_noise_sigma
        unet = SimpleNamespace(
            config=SimpleNamespace(time_cond_proj_dim=None),
            forward=lambda sample, timestep, return_dict: (torch.cat([sample[:1] / 3, sample[1:] / 2]),),
        )
        raised = raise_guidance(unet, guidance)
        assert raised > 1
        expected = latents.double().numpy()
        with split_guidance(unet, scheduler, 1, guidance):
            for timestep in scheduler.timesteps:
                seen = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
                negative, positive = unet.forward(seen, timestep, return_dict=False)[0].chunk(2)
                guided = negative + raised * (positive - negative)
                latents = scheduler.step(guided, timestep, latents, return_dict=False)[0]
        for now, then in itertools.pairwise(scheduler.sigmas.double().tolist()):
            seen = expected / (now**2 + 1) ** 0.5
            clean = expected - now * (seen / 3 + guidance * (seen / 2 - seen / 3))
            expected = clean + then * seen / 3
        assert np.allclose(latents.double().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_unet_that_reads_the_scale_is_called_with_its_own() -> None:
    unet = SimpleNamespace(config=SimpleNamespace(time_cond_proj_dim=256))
    assert raise_guidance(unet, 0.5) == 0.5

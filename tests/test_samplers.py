"""Every sampler with every schedule that the tables offer."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from studio.core.errors import InvalidRequest
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
COMBINATIONS = [(sampler, schedule) for sampler, schedules in DIFFUSION_SAMPLERS.items() for schedule in schedules]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return make_local_pipelines(tmp_path_factory.mktemp("models"), FolderCatalog({"embedded": EMBEDDED}))


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    """The image of each sampler on its automatic schedule."""
    return {}


@pytest.mark.parametrize(("sampler", "schedule"), COMBINATIONS)
def test_draws_on_the_embedded_model(embedded, drawn, sampler: str, schedule: str) -> None:
    backend, settings = embedded
    ctx = RecordingContext(settings)
    steps = 6 if schedule == "Automatic" else 4  # third order shows from the sixth step on
    request = make_request("embedded", steps=steps, guidance=1.0, sampler=sampler, schedule=schedule)
    image = np.asarray(backend.render(request, make_seeds(1), ctx)[0].image, dtype=float)
    assert image.shape == (64, 64, 3)
    assert image.std() > 4, "flat: not an image, or not finite before it became one"
    assert image.std() < 120
    assert ctx.steps[-1] == (steps, steps)
    if schedule == "Automatic":
        drawn[sampler] = image.tobytes()


def test_samplers_differ(drawn) -> None:
    assert set(drawn) == set(DIFFUSION_SAMPLERS)
    same = [(a, b) for a in drawn for b in drawn if a < b and drawn[a] == drawn[b]]
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

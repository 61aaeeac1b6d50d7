"""The samplers against k-diffusion's own, recorded by tools/record_k_diffusion.py."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from studio.pipelines.run.formula_table import ADAPTIVE_FORMULAS, DISTILLED_FORMULAS, FORMULAS
from studio.pipelines.run.noise_levels import SCHEDULES, compute_levels, find_timestep
from studio.pipelines.run.sampler_formulas import Steps
from studio.pipelines.run.samplers import make_scheduler
from tests.test_samplers import SD15

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, on rounding in the seventh digit
]
RECORDED = json.loads((Path(__file__).parent / "data" / "k_diffusion.json").read_text(encoding="utf-8"))
SEEDS, SHAPE = RECORDED["seeds"], tuple(RECORDED["shape"])


def predict_clean(x: Any, level: float) -> Any:
    return x / (1 + level**2) + 0.5 * (x + 1).sin() / (1 + level)


def run(scheduler: Any, steps: int, seeds: list[int], *, begin: int = 0, latents: Any = None) -> Any:
    """The final latents of a model that predicts noise by `predict_clean`."""
    import torch

    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(begin * scheduler.order)
    scheduler.noise_sampler_seed = seeds
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    if latents is None:
        latents = torch.stack([torch.randn(SHAPE, generator=source) for source in sources]) * scheduler.init_noise_sigma
    for index, timestep in enumerate(scheduler.timesteps[begin * scheduler.order :]):
        if getattr(scheduler, "is_finished", False):
            break
        level = float(scheduler.sigmas[begin * scheduler.order + index])
        scaled = scheduler.scale_model_input(latents, timestep)
        assert torch.allclose(scaled, latents / (level**2 + 1) ** 0.5)
        output = (latents.float() - predict_clean(latents.float(), level)) / level
        latents = scheduler.step(output, timestep, latents, generator=sources, return_dict=False)[0]
    return latents


def follow(steps: Steps, *, unguided: bool = False) -> Any:
    """The final latents of a formula that is answered by `predict_clean`."""
    x, level = next(steps)
    while True:
        try:
            clean = predict_clean(x, level)
            x, level = steps.send((x, clean, clean) if unguided else (x, clean))
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("row", RECORDED["rows"], ids=lambda row: f"{row['sampler']}-{row['schedule']}-{row['steps']}")
def test_a_sampler_ends_where_k_diffusions_ends(row: dict[str, Any]) -> None:
    import torch

    made = run(make_scheduler(row["sampler"], row["schedule"], SD15), row["steps"], SEEDS)
    expected = torch.tensor(row["latents"]).reshape(len(SEEDS), *SHAPE)
    assert float((made - expected).norm() / expected.norm()) < 1e-3


@pytest.mark.parametrize("sampler", FORMULAS)
def test_an_image_is_the_same_alone_and_in_a_batch(sampler: str) -> None:
    import torch

    both = run(make_scheduler(sampler, "Karras", SD15), 12, [5, 6])
    alone = run(make_scheduler(sampler, "Karras", SD15), 12, [6])
    assert torch.allclose(both[1:], alone, atol=1e-5)


@pytest.mark.parametrize("sampler", [name for name, row in FORMULAS.items() if row.calls])
def test_drawing_over_begins_at_the_level_left(sampler: str) -> None:
    """Half the steps from the middle level are what the formula makes of the lower half of the levels."""
    import torch

    scheduler = make_scheduler(sampler, "Karras", SD15)
    scheduler.set_timesteps(12)
    first = torch.randn((1, *SHAPE), generator=torch.Generator().manual_seed(1)) * float(
        scheduler.sigmas[6 * scheduler.order]
    )
    made = run(scheduler, 12, [3], begin=6, latents=first)
    levels = scheduler._levels[6:]
    source = torch.Generator().manual_seed(3)
    brownian = FORMULAS[sampler].brownian
    steps = FORMULAS[sampler].formula(
        first,
        levels,
        (lambda now, then: scheduler._draw_brownian(first, now, then))
        if brownian
        else (lambda now, then: torch.randn((1, *SHAPE), generator=source)),
    )
    assert torch.allclose(made, follow(steps, unguided=FORMULAS[sampler].needs_unguided), atol=1e-4)


@pytest.mark.parametrize("sampler", FORMULAS)
def test_half_precision_is_rounded_once_and_not_at_every_step(sampler: str) -> None:
    import torch

    exact = run(make_scheduler(sampler, "Karras", SD15), 12, [5])
    scheduler = make_scheduler(sampler, "Karras", SD15)
    scheduler.set_timesteps(12)
    source = torch.Generator().manual_seed(5)
    latents = torch.randn((1, *SHAPE), generator=source) * scheduler.init_noise_sigma
    scheduler.noise_sampler_seed = [5]
    for index, timestep in enumerate(scheduler.timesteps):
        level = float(scheduler.sigmas[index])
        known = scheduler._exact if scheduler._exact is not None else latents.float()
        output = (known - predict_clean(known, level)) / level
        latents = scheduler.step(output, timestep, latents, generator=[source], return_dict=False)[0]
        latents = latents.half() if index else latents.float().half()
    assert float((latents.float() - exact).norm() / exact.norm()) < 5e-3


def test_adaptive_steps_are_those_of_the_formula_wherever_they_begin() -> None:
    """From the whole range, and for an image that is drawn over from a schedule's level to its last but one."""
    import torch

    for begin in (0, 6):
        scheduler = make_scheduler("DPM adaptive", "Karras", SD15)
        scheduler.set_timesteps(12)
        high, low = (scheduler._trained[-1], scheduler._trained[0]) if not begin else scheduler.sigmas[[6, 11]].tolist()
        source = torch.Generator().manual_seed(3)
        first = torch.randn((1, *SHAPE), generator=torch.Generator().manual_seed(1)) * high
        made = run(scheduler, 12, [3], begin=begin, latents=first) if begin else run(scheduler, 12, [3])
        if not begin:
            first = torch.randn((1, *SHAPE), generator=source) * scheduler.init_noise_sigma
        formula = ADAPTIVE_FORMULAS["DPM adaptive"].formula
        steps = formula(first, [high, low], lambda now, then, source=source: torch.randn((1, *SHAPE), generator=source))
        assert torch.allclose(made, follow(steps), atol=1e-4)
        assert scheduler.is_finished


def test_adaptive_steps_are_short_where_the_model_changes_and_reach_the_end() -> None:
    """The share that is done grows to 1, and a model that gives no numbers ends the run."""
    import torch

    scheduler = make_scheduler("DPM adaptive", "Karras", SD15)
    scheduler.set_timesteps(12)
    latents = torch.randn((1, *SHAPE), generator=torch.Generator().manual_seed(1)) * scheduler.init_noise_sigma
    shares, levels = [], []
    for timestep in scheduler.timesteps:
        level = float(scheduler.sigmas[len(shares)])
        output = (latents - predict_clean(latents, level)) / level
        latents = scheduler.step(output, timestep, latents, generator=torch.Generator(), return_dict=False)[0]
        shares.append(scheduler.share_done)
        levels.append(level)
        if scheduler.is_finished:
            break
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) % 3 == 0
    assert [round(float(one), 2) for one in scheduler.timesteps[: len(levels)]] == [
        round(find_timestep(level, scheduler._trained), 2) for level in levels
    ]
    kept = scheduler.step(latents, scheduler.timesteps[-1], latents, return_dict=False)[0]
    assert torch.equal(kept, latents), "calls after the end change nothing"
    broken = make_scheduler("DPM adaptive", "Karras", SD15)
    broken.set_timesteps(12)
    for timestep in broken.timesteps[:6]:
        if not broken.is_finished:
            broken.step(latents * float("nan"), timestep, latents, generator=torch.Generator())
    assert broken.is_finished


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 50, 150])
def test_levels_fall_from_the_highest_to_the_end(schedule: str, steps: int) -> None:
    from studio.pipelines.run.samplers import make_scheduler

    trained = make_scheduler("Euler", "Uniform", SD15)._trained
    levels = compute_levels(schedule, steps, trained)
    assert all(a > b for a, b in pairwise(levels))
    assert 13 < levels[0] < 15 or (schedule == "DDIM" and levels[0] > 0)
    assert levels[-1] == 0 or (schedule == "KL Optimal" and abs(levels[-1] - trained[0]) < 1e-6)
    if schedule != "DDIM":
        assert len(levels) == steps + 1


@pytest.mark.parametrize("sampler", [*FORMULAS, *DISTILLED_FORMULAS])
def test_a_sampler_runs_over_every_schedule(sampler: str) -> None:
    import torch

    for schedule in SCHEDULES:
        for steps in (1, 2, 3, 7):
            made = run(make_scheduler(sampler, schedule, SD15), steps, [5])
            assert torch.isfinite(made).all(), (schedule, steps)

"""The samplers that ComfyUI has beside k-diffusion's against its own, recorded by tools/record_comfyui.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.pipelines.run.samplers import make_scheduler
from tests.test_samplers import SD15

pytestmark = pytest.mark.torch
RECORDED = json.loads((Path(__file__).parent / "data" / "comfyui_samplers.json").read_text(encoding="utf-8"))
SEEDS, SHAPE = RECORDED["seeds"], tuple(RECORDED["shape"])


def predict_clean(x: Any, level: float) -> Any:
    return x / (1 + level**2) + 0.5 * (x + 1).sin() / (1 + level)


def predict_unguided(x: Any, level: float) -> Any:
    return x / (1 + level**2) + 0.4 * x.cos() / (1 + level)


@pytest.mark.parametrize("row", RECORDED["rows"], ids=lambda row: f"{row['sampler']}-{row['schedule']}-{row['steps']}")
def test_a_sampler_ends_where_comfyuis_ends(row: dict[str, Any]) -> None:
    import torch

    scheduler = make_scheduler(row["sampler"], row["schedule"], SD15)
    scheduler.set_timesteps(row["steps"])
    sources = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    latents = torch.stack([torch.randn(SHAPE, generator=source) for source in sources]) * scheduler.init_noise_sigma
    for timestep, level in zip(scheduler.timesteps, scheduler.sigmas.tolist(), strict=False):
        output = (latents - predict_clean(latents, level)) / level
        scheduler.unguided = (latents - predict_unguided(latents, level)) / level
        latents = scheduler.step(output, timestep, latents, generator=sources, return_dict=False)[0]
    expected = torch.tensor(row["latents"]).reshape(len(SEEDS), *SHAPE)
    assert float((latents - expected).norm() / expected.norm()) < 1e-3

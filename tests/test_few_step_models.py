"""Checkpoints distilled to few steps get the steps, guidance and sampler that they were distilled to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind
from studio.pipelines.families import _few_steps, flux, qwen_image, sd2, sd3, sd15, sdxl

NAMES = {
    "sdxl_lightning_4step": (4, 1.0, "Euler", "SGM Uniform"),
    "juggernautXL_v9Rdphoto2Lightning": (4, 1.0, "Euler", "SGM Uniform"),
    "sdxl_lightning_8step": (8, 1.0, "Euler", "SGM Uniform"),
    "Hyper-SDXL-1step": (1, 1.0, "DDIM", "SGM Uniform"),
    "Hyper-SDXL-12steps-CFG": (12, 5.0, "DDIM", "SGM Uniform"),
    "epicrealismXL_vxviHyper": (8, 1.0, "DDIM", "SGM Uniform"),
    "turbovisionxlSuperFast_V4": (4, 1.0, "Euler a", "SGM Uniform"),
    "sd_xl_turbo_1.0_fp16": (4, 1.0, "Euler a", "SGM Uniform"),
    "realLCM_v2": (6, 1.5, "LCM", "Automatic"),
    "cyberrealisticXL_dmd2": (4, 1.0, "LCM", "Automatic"),
    "HyperRealisticXL_v3": (25, 6.0, "DPM++ 2M", "Automatic"),
    "hyper-realism": (25, 6.0, "DPM++ 2M", "Automatic"),
    "turbochargedEngine": (25, 6.0, "DPM++ 2M", "Automatic"),
    "ponyDiffusionV6XL": (25, 6.0, "DPM++ 2M", "Automatic"),
    "after_1000_steps": (25, 6.0, "DPM++ 2M", "Automatic"),
}


def make_weight(
    name: str,
    family: str = "sdxl",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> WeightFile:
    header = SafetensorsHeader(shapes=dict(shapes or {}), dtypes={}, metadata=dict(metadata or {}))
    path = Path(f"/nowhere/{name}.safetensors")
    return WeightFile(name=name, kind=WeightKind.CHECKPOINT, path=path, bytes=1, family=family, header=header)


def read_sampling(spec: Any, weight: WeightFile) -> tuple[int, float, str, str]:
    sampling = spec.PIPELINE.describe(weight).sampling
    assert sampling.schedule in sampling.combinations[sampling.sampler]
    return sampling.steps, sampling.guidance, sampling.sampler, sampling.schedule


@pytest.mark.parametrize("name", NAMES)
def test_a_name_tells_how_an_sdxl_checkpoint_is_sampled(name: str) -> None:
    assert read_sampling(sdxl, make_weight(name)) == NAMES[name]


def test_the_metadata_tells_where_the_name_does_not() -> None:
    weight = make_weight("model", metadata={"modelspec.title": "SDXL Lightning, 2 steps"})
    assert read_sampling(sdxl, weight) == (2, 1.0, "Euler", "SGM Uniform")


def test_an_embedded_guidance_means_consistency_distillation(tmp_path: Path) -> None:
    weight = make_weight("model", "sd15", {"time_embedding.cond_proj.weight": (320, 256)})
    assert read_sampling(sd15, weight)[2] == "LCM"
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"time_cond_proj_dim": 256}))
    folder = WeightFile(name="f", kind=WeightKind.CHECKPOINT, path=tmp_path, bytes=1, family="sd15")
    assert read_sampling(sd15, folder)[2] == "LCM"
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"time_cond_proj_dim": None}))
    assert read_sampling(sd15, folder)[2] == "DPM++ 2M"


def test_stability_turbo_models_are_drawn_at_512_px() -> None:
    assert sdxl.PIPELINE.describe(make_weight("sd_xl_turbo_1.0")).sizes.liked[0] == (512, 512)
    assert sdxl.PIPELINE.describe(make_weight("dreamshaperXL_turbo")).sizes.liked[0] == (1024, 1024)
    turbo = sd2.PIPELINE.describe(make_weight("sd_turbo", "sd2"))
    assert turbo.sizes.liked[0] == (512, 512)
    assert turbo.sampling.sampler == "Euler a"


def test_other_families_have_their_own_defaults() -> None:
    dev = {"guidance_in.in_layer.bias": (3072,), "img_in.weight": (3072, 64)}
    assert read_sampling(flux, make_weight("flux.1-dev-hyper-8steps", "flux", dev))[:2] == (8, 3.5)
    assert read_sampling(flux, make_weight("flux1-dev-fp8", "flux", dev))[:2] == (28, 3.5)
    assert read_sampling(flux, make_weight("flux1-schnell", "flux"))[:2] == (4, 0.0)
    assert read_sampling(sd3, make_weight("sd3.5_large_turbo", "sd3"))[:2] == (4, 0.0)
    assert read_sampling(qwen_image, make_weight("Qwen-Image-Lightning-4steps-V2", "qwen_image"))[:2] == (4, 1.0)
    assert read_sampling(qwen_image, make_weight("qwen_image_fp8", "qwen_image"))[:2] == (50, 4.0)


def test_a_method_that_a_family_has_no_training_of_is_not_looked_for() -> None:
    assert _few_steps.find_method("lcm", _few_steps.FLUX_TRAININGS) == ""

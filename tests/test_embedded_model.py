"""The model that ships: complete, small, safe to load, and able to draw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

MODEL = Path(__file__).resolve().parents[1] / "models" / "embedded"
LIMIT_BYTES = 80_000_000


@pytest.fixture(scope="module")
def pipeline() -> diffusers.StableDiffusionPipeline:
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(MODEL, use_safetensors=True).to(torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def examples() -> list[dict[str, object]]:
    return json.loads((MODEL / "examples.json").read_text(encoding="utf-8"))


def test_folder_is_complete() -> None:
    for name in (
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/model.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "MODEL_CARD.md",
        "grid.webp",
        "examples.json",
    ):
        assert (MODEL / name).is_file(), name


def test_folder_is_small_and_holds_safetensors_only() -> None:
    files = [path for path in MODEL.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT_BYTES
    assert not [path for path in files if path.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
    assert (MODEL / "grid.webp").stat().st_size <= 200_000


def test_parts_have_the_sizes_that_the_pipelines_expect(pipeline: diffusers.StableDiffusionPipeline) -> None:
    assert pipeline.tokenizer.model_max_length == 77
    assert pipeline.unet.config.in_channels == 4
    assert pipeline.unet.config.cross_attention_dim == pipeline.text_encoder.config.hidden_size
    assert pipeline.unet.config.sample_size * pipeline.vae_scale_factor == 128
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.safety_checker is None


def test_examples_are_prompts_with_seeds(examples: list[dict[str, object]]) -> None:
    assert 12 <= len(examples) <= 16
    assert all(isinstance(item["prompt"], str) and isinstance(item["seed"], int) for item in examples)


@pytest.mark.parametrize(("width", "height"), [(128, 128), (128, 96)])
def test_an_example_draws_something(
    pipeline: diffusers.StableDiffusionPipeline, examples: list[dict[str, object]], width: int, height: int
) -> None:
    example = examples[0]
    result = pipeline(
        example["prompt"],
        num_inference_steps=6,
        guidance_scale=3.0,
        width=width,
        height=height,
        generator=torch.Generator().manual_seed(int(str(example["seed"]))),
        output_type="np",
    )
    image = np.asarray(result.images[0])
    assert image.shape == (height, width, 3)
    assert np.isfinite(image).all()
    assert image.std() > 0.05


def test_card_tells_measurements_data_and_limits() -> None:
    card = (MODEL / "MODEL_CARD.md").read_text(encoding="utf-8")
    for part in ("| Autoencoder PSNR", "| Seen concepts", "| Held-out concepts", "| Colour words", "MIT", "## Limits"):
        assert part in card, part

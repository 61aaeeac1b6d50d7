"""The ControlNet and the LoRA that ship with the embedded model: they load by plain diffusers, steer, and leave no
trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")

from tools.embedded.edges import compute_f1, detect_edges, draw_outlines  # noqa: E402
from tools.embedded.neon import GROUND, TRIGGER  # noqa: E402
from tools.embedded.sampling import to_control_images  # noqa: E402

pytestmark = pytest.mark.torch

MODELS = Path(__file__).resolve().parents[1] / "models"
CONTROLNET = MODELS / "controlnet" / "embedded-edges"
LORA = MODELS / "loras" / "embedded-neon.safetensors"
LIMIT_BYTES = 25_000_000
PROMPTS = ("an orange", "a blue car", "a fox", "a pink house", "a purple heart")


@pytest.fixture(scope="module")
def bare() -> Any:
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(MODELS / "embedded", use_safetensors=True)
    loaded.to(torch.float32).set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def steered(bare: Any) -> Any:
    control = diffusers.ControlNetModel.from_pretrained(CONTROLNET, use_safetensors=True)
    parts = bare.components | {"controlnet": control}
    pipeline = diffusers.StableDiffusionControlNetPipeline(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: Any, prompts: list[str], **more: Any) -> np.ndarray:
    """One image per prompt, uint8 RGB [N, 128, 128, 3], the same on every call."""
    result = pipeline(
        prompts,
        num_inference_steps=8,
        guidance_scale=3.0,
        width=128,
        height=128,
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
        output_type="np",
        **more,
    )
    return (np.asarray(result.images) * 255).round().astype(np.uint8)


def test_both_are_small_and_plain() -> None:
    files = [path for path in (*CONTROLNET.rglob("*"), LORA) if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) <= LIMIT_BYTES


def test_card_tells_how_well_they_steer() -> None:
    card = (MODELS / "embedded" / "MODEL_CARD.md").read_text(encoding="utf-8")
    row = next(line for line in card.splitlines() if line.startswith("| **All** |"))
    pairs, without, following = (cell.strip() for cell in row.split("|")[2:5])
    assert int(pairs) >= 200
    assert float(following) > float(without)
    assert (MODELS / "embedded" / "steering.webp").stat().st_size <= 200_000


def test_images_follow_the_lines_of_the_control_image(bare: Any, steered: Any) -> None:
    lines = draw_outlines(128)
    without = draw(bare, list(PROMPTS))
    following = draw(steered, list(PROMPTS), image=to_control_images(lines))
    before = np.array([compute_f1(detect_edges(image), wanted) for image, wanted in zip(without, lines, strict=True)])
    after = np.array([compute_f1(detect_edges(image), wanted) for image, wanted in zip(following, lines, strict=True)])
    assert after.mean() > before.mean() + 0.2
    assert (after > before).sum() >= 4


def test_weight_0_changes_nothing(bare: Any, steered: Any) -> None:
    lines = to_control_images(draw_outlines(128)[:1])
    plain = draw(bare, [PROMPTS[0]])
    assert np.array_equal(draw(steered, [PROMPTS[0]], image=lines, controlnet_conditioning_scale=0.0), plain)


def test_lora_gives_its_style_and_leaves_no_trace(bare: Any) -> None:
    prompts = [f"{prompt}, {TRIGGER}" for prompt in PROMPTS[:3]]
    before = draw(bare, prompts)
    bare.load_lora_weights(LORA.parent, weight_name=LORA.name)
    worn = draw(bare, prompts)
    bare.unload_lora_weights()
    assert np.array_equal(draw(bare, prompts), before)
    corners = worn[:, :8, :8].reshape(-1, 3).mean(0)
    assert np.abs(corners - GROUND).max() < 40
    assert before[:, :8, :8].mean() > corners.mean() + 100
    assert worn.max() > 150


def test_lora_names_its_words_in_the_file() -> None:
    from safetensors import safe_open

    with safe_open(LORA, framework="pt") as file:
        metadata = file.metadata()
        names = list(file.keys())
    assert metadata["modelspec.trigger_phrase"] == TRIGGER
    assert all(name.startswith("unet.") and ".lora_" in name for name in names)

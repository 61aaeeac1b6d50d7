"""Stage "steer": whether the ControlNet and the LoRA do what they are for, in figures and images, for the model
card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from .captions import View, build_caption
from .colours import WHITE, composite
from .concepts import load_concepts
from .edges import compute_f1, compute_ssim, detect_edges, draw_outlines
from .neon import TRIGGER, apply_neon, compute_palette_distance
from .paths import CONTROLNET, IMAGE_SIZE, LORA, MODEL, ROOT, STATE
from .render import load_images
from .sampling import draw_grid, generate_images
from .shapes import bend_drawing, find_unseen_drawings
from .vae import to_tensor

PER_GROUP, LORA_PROMPTS = 70, 40
MIN_EDGE_PIXELS = 60
"""Pixels of edges that a control image must have: some white drawings on white have next to none."""
RESULTS = STATE / "steering.json"
SHEET = MODEL / "steering.webp"
SKETCH_SHEET = ROOT / "docs" / "images" / "steering.webp"
SKETCH_PROMPTS: tuple[str, ...] = ("an orange", "a blue car", "a fox", "a pink house", "a purple heart")
SHEET_COLUMNS = 9


@dataclass(frozen=True)
class Pair:
    """A prompt and the image (uint8 RGB [S, S, 3]) whose edges to follow."""

    prompt: str
    image: np.ndarray


def composite_on_white(drawing: np.ndarray) -> np.ndarray:
    """Return a premultiplied RGBA drawing on white, uint8 RGB [S, S, 3]."""
    return composite(drawing, WHITE).round().clip(0, 255).astype(np.uint8)


def build_pairs() -> dict[str, list[Pair]]:
    """Return the pairs by group.

    "bent" are known things in new shapes, under their own names; "unseen" drawings that neither the UNet nor the
    ControlNet was trained on, under their names; "crossed" the edges of one known thing with the name of another.
    """
    rng = np.random.default_rng(31)
    images, index = load_images()
    concepts = [concept for concept in load_concepts() if not concept.held_out]
    places = {key: number for number, key in enumerate(index)}
    drawings = {concept.label: np.asarray(images[places["3d", concept.label]]) for concept in concepts}
    names = {concept.label: build_caption(concept.names[0], View("3d")) for concept in concepts}
    labels = [concept.label for concept in concepts]
    groups: dict[str, list[Pair]] = {"bent": [], "unseen": [], "crossed": []}
    for label in rng.permutation(labels).tolist():
        groups["bent"].append(Pair(names[label], composite_on_white(bend_drawing(drawings[label], rng))))
    for number in rng.permutation(find_unseen_drawings()[1]).tolist():
        text = build_caption(index[number][1], View(index[number][0]))
        groups["unseen"].append(Pair(text, composite_on_white(np.asarray(images[number]))))
    for label in rng.permutation(labels).tolist():
        other = str(rng.choice([name for name in labels if name != label]))
        groups["crossed"].append(Pair(names[other], composite_on_white(drawings[label])))
    return {
        group: [pair for pair in found if detect_edges(pair.image).sum() >= MIN_EDGE_PIXELS][:PER_GROUP]
        for group, found in groups.items()
    }


def compute_interval(values: np.ndarray) -> dict[str, float]:
    """Return the mean of [N] values with the half-width of its 95 % interval (normal), and their number."""
    return {
        "mean": float(values.mean()),
        "half": float(1.96 * values.std(ddof=1) / len(values) ** 0.5),
        "count": len(values),
    }


@torch.no_grad()
def reconstruct_images(pipeline: Any, images: np.ndarray) -> np.ndarray:
    """Return images, uint8 [N, S, S, 3], through the autoencoder and back: as near as any drawing can come."""
    decoded = [pipeline.vae(part).sample for part in to_tensor(images).split(25)]
    scaled = (torch.cat(decoded).clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().permute(0, 2, 3, 1).numpy()


def compare_edges(found: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Return the F1 agreement and the SSIM of each image's edges with its lines, [2, N]."""
    both = [(detect_edges(image), wanted) for image, wanted in zip(found, lines, strict=True)]
    return np.array([[compute_f1(*pair) for pair in both], [compute_ssim(*pair) for pair in both]])


def measure_control(bare: Any, steered: Any) -> tuple[dict[str, Any], np.ndarray]:
    """Return the figures of the ControlNet, and rows of the first pairs of each group: lines, without and with it."""
    figures: dict[str, Any] = {}
    shown: list[np.ndarray] = []
    scores: dict[str, list[np.ndarray]] = {"without": [], "with": [], "another's": [], "autoencoder": []}
    for group, pairs in build_pairs().items():
        images = np.stack([pair.image for pair in pairs])
        lines = np.stack([detect_edges(image) for image in images])
        prompts, seeds = [pair.prompt for pair in pairs], list(range(len(pairs)))
        without = generate_images(bare, prompts, seeds)
        following = generate_images(steered, prompts, seeds, lines=lines)
        found = {
            "without": compare_edges(without, lines),
            "with": compare_edges(following, lines),
            "another's": compare_edges(following, np.roll(lines, 1, axis=0)),
            "autoencoder": compare_edges(reconstruct_images(bare, images), lines),
        }
        figures[group] = summarize_scores(found)
        for name, values in found.items():
            scores[name].append(values)
        drawn = np.repeat(lines[..., None] * np.uint8(255), 3, axis=-1)
        shown.append(np.stack([rows[: SHEET_COLUMNS // 3] for rows in (drawn, without, following)]))
        print(group, figures[group], flush=True)
    figures["all"] = summarize_scores({name: np.concatenate(values, axis=1) for name, values in scores.items()})
    return figures, np.concatenate(shown, axis=1)


def summarize_scores(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return mean and interval of every score [2, N], of the gain by the ControlNet, and how often it gains."""
    gain = found["with"] - found["without"]
    figures: dict[str, Any] = {
        measure: {name: compute_interval(values[row]) for name, values in (found | {"gain": gain}).items()}
        for row, measure in enumerate(("f1", "ssim"))
    }
    return figures | {"better": float((gain[0] > 0).mean())}


def measure_lora(bare: Any) -> tuple[dict[str, Any], np.ndarray]:
    """Return the figures of the LoRA, and rows of the first prompts, without and with it. Leaves the pipeline bare."""
    images, index = load_images()
    places = {key: number for number, key in enumerate(index)}
    concepts = [concept for concept in load_concepts() if not concept.held_out]
    chosen = np.random.default_rng(37).permutation(len(concepts))[:LORA_PROMPTS]
    names = [build_caption(concepts[number].names[0], View("3d")) for number in chosen]
    styled = np.stack([apply_neon(np.asarray(images[places["3d", concepts[number].label]])) for number in chosen])
    prompts, seeds = [f"{name}, {TRIGGER}" for name in names], list(range(len(names)))
    before = generate_images(bare, prompts, seeds)
    plain = generate_images(bare, names, seeds)
    bare.load_lora_weights(LORA.parent, weight_name=LORA.name)
    adapted, untriggered = generate_images(bare, prompts, seeds), generate_images(bare, names, seeds)
    bare.unload_lora_weights()
    after = generate_images(bare, prompts, seeds)

    def compute_distances(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return np.array([compute_palette_distance(one, two) for one, two in zip(found, wanted, strict=True)])

    gain = compute_distances(before, styled) - compute_distances(adapted, styled)
    figures = {
        "without": compute_interval(compute_distances(before, styled)),
        "with": compute_interval(compute_distances(adapted, styled)),
        "without the words": compute_interval(compute_distances(untriggered, styled)),
        "autoencoder": compute_interval(
            compute_distances(reconstruct_images(bare, styled.round().astype(np.uint8)), styled)
        ),
        "another's": compute_interval(compute_distances(np.roll(styled, 1, axis=0), styled)),
        "gain": compute_interval(gain),
        "better": float((gain > 0).mean()),
        "edges": compute_interval(compare_edges(adapted, np.stack([detect_edges(image) for image in plain]))[0]),
        "bare again": bool(np.array_equal(before, after)),
    }
    print("lora", figures, flush=True)
    return figures, np.stack([plain[:SHEET_COLUMNS], adapted[:SHEET_COLUMNS]])


def build_sketch_sheet(steered: Any) -> np.ndarray:
    """Return, row by row, each outline and what every prompt makes of it, uint8 [N, S, S, 3]."""
    rows, prompts = [], list(SKETCH_PROMPTS)
    for shape in draw_outlines(IMAGE_SIZE):
        drawn = generate_images(steered, prompts, list(range(len(prompts))), lines=np.stack([shape] * len(prompts)))
        rows.append(np.repeat(shape[None, ..., None] * np.uint8(255), 3, axis=-1))
        rows.append(drawn)
    return np.concatenate(rows)


def measure_steering() -> None:
    """Measure ControlNet and LoRA; write .train/steering.json, the two image sheets and the card."""
    from .card import write_card

    bare = StableDiffusionPipeline.from_pretrained(MODEL, use_safetensors=True).to(torch.float32)
    control = ControlNetModel.from_pretrained(CONTROLNET, use_safetensors=True)
    parts: dict[str, Any] = bare.components | {"controlnet": control}
    steered = StableDiffusionControlNetPipeline(**parts, requires_safety_checker=False)
    for pipeline in (bare, steered):
        pipeline.set_progress_bar_config(disable=True)
    figures, rows = measure_control(bare, steered)
    sketches = build_sketch_sheet(steered)
    styles, styled_rows = measure_lora(bare)
    sheet = np.concatenate([rows, styled_rows]).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)
    draw_grid(sheet, SHEET_COLUMNS).save(SHEET, quality=80, method=6)
    draw_grid(sketches, 1 + len(SKETCH_PROMPTS)).save(SKETCH_SHEET, quality=85, method=6)
    RESULTS.write_text(json.dumps({"control": figures, "lora": styles}, indent=1), encoding="utf-8")
    write_card()

"""Stage "eval": the measurements of the model card, its grid, and the card itself."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from .cache import render_view
from .captions import View
from .colours import PALETTE, WHITE, composite
from .concepts import load_concepts
from .judge import UNSEEN_STYLE, Judge, list_class_labels, load_judge, load_styles, run_judge
from .paths import MODEL, STATE
from .prompts import GRID_PROMPTS, Question, build_questions
from .render import load_images
from .sampling import draw_grid, generate_images
from .vae import measure_reconstruction

PER_GROUP = 100
"""Prompts graded per group, at most."""
DIVERSITY_PROMPTS, DIVERSITY_SEEDS = 12, 6
NEAR_DISTANCE = 0.05
"""Root mean square pixel distance, 0..1, under which a generated image counts as a copy of a training image."""
RESULTS = STATE / "results.json"


@dataclass(frozen=True)
class Hits:
    """Share of images whose concept is the judge's first guess, or among its first five, and how many were graded."""

    top1: float
    top5: float
    count: int


def count_hits(logits: torch.Tensor, targets: list[set[int]]) -> Hits:
    """Grade logits [N, classes] against the sets of classes that count as right (labels that share a name)."""
    guesses = logits.topk(5).indices.tolist()
    first = [row[0] in right for row, right in zip(guesses, targets, strict=True)]
    five = [bool(right.intersection(row)) for row, right in zip(guesses, targets, strict=True)]
    return Hits(float(np.mean(first)), float(np.mean(five)), len(five))


def find_right_classes() -> dict[str, set[int]]:
    """Return, for each label, the classes that share one of its names ("cat" is the cat and the cat face)."""
    concepts = load_concepts()
    result = {}
    for concept in concepts:
        shared = {number for number, other in enumerate(concepts) if set(other.names) & set(concept.names)}
        result[concept.label] = shared
    return result


def compute_frechet(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the Frechet distance of two sets of features [N, D], as FID computes it (Heusel et al. 2017)."""
    one, two = first.double(), second.double()
    covariance_one, covariance_two = torch.cov(one.T), torch.cov(two.T)
    values = torch.linalg.eigvals(covariance_one @ covariance_two).real.clamp(min=0).sqrt().sum()
    distance = (one.mean(0) - two.mean(0)).square().sum()
    return float(distance + covariance_one.trace() + covariance_two.trace() - 2 * values)


def find_closest_recolouring(generated: np.ndarray, drawing: np.ndarray) -> str:
    """Return the colour word whose recolouring of the real drawing has the mean colour nearest to the generated image.

    Args:
        generated: RGB 0..255, [S, S, 3].
        drawing: The concept's premultiplied RGBA, uint8 [S, S, 4].
    """
    words = [*PALETTE]
    rng = np.random.default_rng(0)
    real = np.stack([render_view(drawing, View("3d", word), rng).mean((0, 1)) for word in words])
    return words[int(np.square(real - generated.mean((0, 1))).sum(-1).argmin())]


def compute_spread(images: np.ndarray) -> float:
    """Return the mean pairwise root mean square distance, 0..1, of images of one prompt, uint8 [N, S, S, 3]."""
    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    pairs = [(i, j) for i in range(len(flat)) for j in range(i)]
    return float(np.mean([np.sqrt(np.square(flat[i] - flat[j]).mean()) for i, j in pairs]))


def find_nearest_training(images: np.ndarray, drawings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's root mean square distance, 0..1, to the nearest drawing or its mirror image, and its number.

    Args:
        images: Generated, uint8 RGB [N, S, S, 3].
        drawings: On white, float RGB 0..255, [M, S, S, 3].
    """
    small = drawings[:, ::2, ::2].reshape(len(drawings), -1) / 255
    mirrored = drawings[:, ::2, ::-2].reshape(len(drawings), -1) / 255
    known = torch.from_numpy(np.concatenate([small, mirrored]).astype(np.float32))
    generated = torch.from_numpy(images[:, ::2, ::2].reshape(len(images), -1).astype(np.float32) / 255)
    nearest = torch.cdist(generated, known).min(1)
    return (nearest.values / known.shape[1] ** 0.5).numpy(), (nearest.indices % len(drawings)).numpy()


def grade_real(judge: Judge) -> tuple[dict[str, Hits], dict[str, torch.Tensor]]:
    """Grade real images: the unseen style, and the training drawings through the autoencoder; with their features."""
    drawings, styles, classes = load_styles()
    labels, right = list_class_labels(), find_right_classes()
    shown = {style: np.array([place for place, own in enumerate(styles) if own == style]) for style in set(styles)}
    results, features = {}, {}
    for style in ("3d", "flat", UNSEEN_STYLE):
        places = shown[style]
        images = np.stack([composite(drawings[place], WHITE) for place in places])
        logits, features[style] = run_judge(judge, images)
        results[style] = count_hits(logits, [right[labels[classes[place]]] for place in places])
    return results, features


def grade_groups(pipeline: StableDiffusionPipeline, judge: Judge) -> dict[str, Any]:
    """Draw and grade the question groups; returns the figures of the card that need generated images."""
    right, rng = find_right_classes(), random.Random(3)
    drawings, index = load_images()
    places = {key: number for number, key in enumerate(index)}
    figures: dict[str, Any] = {"features": []}
    for group, questions in build_questions().items():
        chosen: list[Question] = rng.sample(questions, min(PER_GROUP, len(questions)))
        images = generate_images(pipeline, [question.prompt for question in chosen], list(range(len(chosen))))
        logits, features = run_judge(judge, images.astype(np.float32))
        figures[group] = asdict(count_hits(logits, [right[question.label] for question in chosen]))
        if "colour" in group:
            words = [
                find_closest_recolouring(image.astype(np.float32), drawings[places["3d", question.label]])
                for image, question in zip(images, chosen, strict=True)
            ]
            agreed = [word == question.colour for word, question in zip(words, chosen, strict=True)]
            figures[f"{group} obeyed"] = float(np.mean(agreed))
        if group in ("seen", "everyday"):
            figures["features"].append(features)
        if group == "seen":
            figures |= measure_memorisation(images, [right[question.label] for question in chosen])
        print(group, figures[group], figures.get(f"{group} obeyed", ""), flush=True)
    return figures


def measure_memorisation(images: np.ndarray, targets: list[set[int]]) -> dict[str, float]:
    """Compare generated images with the 3D training drawings on white: how near, how many copies, how often its own."""
    drawings, index = load_images()
    classes = {concept.label: number for number, concept in enumerate(load_concepts()) if not concept.held_out}
    known = [number for number, (style, label) in enumerate(index) if style == "3d" and label in classes]
    shown = np.stack([composite(drawings[number], WHITE) for number in known])
    distances, nearest = find_nearest_training(images, shown)
    own = [classes[index[known[place]][1]] in right for place, right in zip(nearest, targets, strict=True)]
    return {
        "nearest median": float(np.median(distances)),
        "copies": float(np.mean(distances < NEAR_DISTANCE)),
        "nearest is own": float(np.mean(own)),
    }


def measure_diversity(pipeline: StableDiffusionPipeline) -> float:
    """Return the mean spread over seeds of the first grid prompts."""
    prompts = [prompt for prompt in GRID_PROMPTS[:DIVERSITY_PROMPTS] for _ in range(DIVERSITY_SEEDS)]
    seeds = [100 + number % DIVERSITY_SEEDS for number in range(len(prompts))]
    images = generate_images(pipeline, prompts, seeds)
    groups = images.reshape(DIVERSITY_PROMPTS, DIVERSITY_SEEDS, *images.shape[1:])
    return float(np.mean([compute_spread(group) for group in groups]))


def evaluate_model() -> None:
    """Measure models/embedded and write .train/results.json, grid.webp and MODEL_CARD.md."""
    from .card import write_card

    judge = load_judge()
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL, use_safetensors=True).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if not isinstance(pipeline.vae, AutoencoderTiny):
        raise SystemExit("models/embedded does not hold the small autoencoder")
    sheet = generate_images(pipeline, list(GRID_PROMPTS), list(range(len(GRID_PROMPTS))))
    draw_grid(sheet, 8).save(MODEL / "grid.webp", quality=80, method=6)
    real, features = grade_real(judge)
    figures = grade_groups(pipeline, judge)
    generated = torch.cat(figures.pop("features"))
    half = torch.randperm(len(features["3d"]), generator=torch.Generator().manual_seed(0))
    middle = len(half) // 2
    figures |= {
        "autoencoder": measure_reconstruction(pipeline.vae),
        "real": {style: asdict(value) for style, value in real.items()},
        "frechet": compute_frechet(generated, features["3d"][half[:middle]]),
        "frechet real halves": compute_frechet(features["3d"][half[:middle]], features["3d"][half[middle:]]),
        "frechet real flat": compute_frechet(features["flat"], features["3d"]),
        "diversity": measure_diversity(pipeline),
    }
    RESULTS.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    write_card()

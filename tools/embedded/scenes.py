"""Stage "scenes": whether the judge recognises each thing in images that are composed of several."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image

from studio.pipelines.catalog.model_folders import read_vocabulary
from studio.pipelines.run.scene_layout import place_by_nature, place_things, put_into_place, put_together
from studio.pipelines.run.scenery import choose_scenery
from studio.prompting.scene import read_scene

from .captions import add_article
from .concepts import Concept, load_concepts
from .evaluate import find_right_classes
from .judge import Judge, load_judge, run_judge
from .paths import MODEL
from .sampling import generate_images

SIDE = 256
"""Of the composed images, in pixels."""
STRIDE = 1_000_003
"""Between the seeds of the things of one image."""


@dataclass(frozen=True)
class Combination:
    """A prompt of several things, and the labels that should be recognised."""

    prompt: str
    labels: tuple[str, ...]


def choose_combinations(count: int, *, everyday: bool) -> list[Combination]:
    """Return pairs of things that share no name, none of which the model ever saw together."""
    rng, right = random.Random(2 if everyday else 1), find_right_classes()
    known = [concept for concept in load_concepts() if not concept.held_out and (concept.everyday or not everyday)]
    found: list[Combination] = []
    while len(found) < count:
        first, second = rng.sample(known, 2)
        if not right[first.label] & right[second.label]:
            found.append(join_names(first, second))
    return found


def join_names(*concepts: Concept) -> Combination:
    """Return the prompt "a cat and a dog" for two concepts."""
    prompt = " and ".join(add_article(concept.names[0]) for concept in concepts)
    return Combination(prompt, tuple(concept.label for concept in concepts))


def compose_image(pipeline: Any, prompt: str, seed: int) -> Image.Image:
    """Return the composed image, SIDE pixels high and wide; the plain one where the prompt is not understood."""
    vocabulary = read_vocabulary(MODEL)
    scene = read_scene(prompt, vocabulary) if vocabulary is not None else None
    if scene is None:
        return Image.fromarray(generate_images(pipeline, [prompt], [seed])[0]).resize((SIDE, SIDE))
    seeds = [seed + STRIDE * number for number in range(len(scene.things))]
    scenery = choose_scenery(scene)
    prompts = [thing.bare_prompt if scenery else thing.prompt for thing in scene.things]
    made = generate_images(pipeline, prompts, seeds)
    images = list(map(Image.fromarray, made))
    if scenery is None:
        return put_together(images, place_things(scene, SIDE, SIDE), (SIDE, SIDE))
    return put_into_place(images, place_by_nature(scene, SIDE, SIDE), scenery, (SIDE, SIDE), seed)


def cut_windows(image: Image.Image) -> list[Image.Image]:
    """Return the windows of half the side, at steps of an eighth, and the whole image at their size."""
    side, step = SIDE // 2, SIDE // 8
    places = range(0, SIDE - side + 1, step)
    cuts = [image.crop((left, top, left + side, top + side)) for top in places for left in places]
    return [*cuts, image.resize((side, side), Image.Resampling.BOX)]


def find_named(judge: Judge, image: Image.Image, labels: Sequence[str]) -> bool:
    """Return whether each label, or one that shares a name with it, is the judge's first guess in some window."""
    right = find_right_classes()
    logits, _ = run_judge(judge, np.stack([np.asarray(cut, np.float32) for cut in cut_windows(image)]))
    seen = set(logits.argmax(1).tolist())
    return all(seen & right[label] for label in labels)


def measure_scenes(count: int = 100) -> None:
    """Print in how many composed images both things of a pair are recognised wherever they stand, and how often the
    names of the next pair are."""
    judge = load_judge()
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL, use_safetensors=True).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    for everyday in (True, False):
        pairs = choose_combinations(count, everyday=everyday)
        images = [compose_image(pipeline, pair.prompt, number) for number, pair in enumerate(pairs)]
        found = [find_named(judge, image, pair.labels) for image, pair in zip(images, pairs, strict=True)]
        others = [find_named(judge, image, pair.labels) for image, pair in zip(images, pairs[1:], strict=False)]
        kind = "everyday things" if everyday else "any things"
        print(f"{count} pairs of {kind}: both {np.mean(found):.2f}, names of the next pair {np.mean(others):.2f}")

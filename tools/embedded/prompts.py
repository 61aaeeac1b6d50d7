"""The fixed prompts of the grid and of the measurements."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .cache import find_natural_word
from .captions import View, build_caption, filter_uncoloured, is_held_out
from .colours import PALETTE
from .concepts import load_concepts
from .render import load_images

GRID_PROMPTS = (
    "a red apple",
    "a green apple",
    "a banana",
    "a strawberry",
    "an orange",
    "grapes",
    "a slice of pizza",
    "a hamburger",
    "a cat",
    "a dog",
    "a fox",
    "a penguin",
    "a fish",
    "an elephant",
    "a butterfly",
    "an owl",
    "a car",
    "a red car",
    "a blue car",
    "a bus",
    "a bicycle",
    "an airplane",
    "a rocket",
    "a sailboat",
    "a house",
    "a castle",
    "a tree",
    "a flower",
    "a sunflower",
    "a cactus",
    "a mountain",
    "a rainbow",
    "the sun",
    "a star",
    "a heart",
    "a smiling face",
    "a snowman",
    "an umbrella",
    "a guitar",
    "a key",
    "a purple heart",
    "a yellow flower",
    "a pink house",
    "a green dragon",
    "a cat on a blue background",
    "a banana on a pink background",
    "a rocket on a black background",
    "a red car, flat style",
)
"""48 prompts, drawn with seed 0, 1, 2, ... in this order."""


@dataclass(frozen=True)
class Question:
    """One prompt to draw and grade: the label that should be recognised and the colour word to be obeyed, if any."""

    prompt: str
    label: str
    colour: str | None = None
    style: str = "3d"


def build_questions() -> dict[str, list[Question]]:
    """Return the graded prompts by group: seen, everyday, flat, trained and unseen colours, held-out concepts."""
    rng = random.Random(11)
    names = ("seen", "everyday", "flat", "colour", "unseen colour", "held out")
    groups: dict[str, list[Question]] = {group: [] for group in names}
    images, index = load_images()
    places = {key: number for number, key in enumerate(index)}
    for concept in load_concepts():
        name, label = concept.names[0], concept.label
        if concept.held_out:
            groups["held out"].append(Question(build_caption(name, View("3d")), label))
            continue
        groups["seen"].append(Question(build_caption(name, View("3d")), label))
        if concept.everyday:
            groups["everyday"].append(groups["seen"][-1])
        if ("flat", label) in places:
            groups["flat"].append(Question(build_caption(name, View("flat")), label, style="flat"))
        free = filter_uncoloured(concept.names)
        natural = find_natural_word(images[places["3d", label]])
        words = [word for word in PALETTE if word != natural] if free else []
        for group, unseen in (("colour", False), ("unseen colour", True)):
            pool = [word for word in words if is_held_out(label, word) == unseen]
            if pool:
                word = rng.choice(pool)
                groups[group].append(Question(build_caption(free[0], View("3d", word)), label, word))
    return groups

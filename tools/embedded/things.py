"""The names of what the model knows, for images that are composed of several things: models/embedded/things.json."""

from __future__ import annotations

import json
from pathlib import Path

from .concepts import load_concepts

THINGS = "things.json"
PLACES = {
    "green": ("on grass", "in grass", "on a meadow", "in a meadow", "in a field", "in a garden", "in a forest"),
    "blue": ("in the sea", "in the ocean", "in a lake", "in water", "under water", "in the sky"),
    "black": ("at night", "in the dark", "in space", "in the night sky"),
    "yellow": ("in the desert", "on sand", "on the beach"),
    "orange": ("at sunset",),
    "grey": ("in the rain", "in fog"),
}
"""Places by the colour of the ground that stands for them: the model knows grounds of one colour and no others."""


def write_things(folder: Path) -> None:
    """Write the names of the concepts that were trained on, and the words for the ground of each place."""
    names = sorted({name for concept in load_concepts() if not concept.held_out for name in concept.names})
    places = {place: f"on {choose_article(word)} {word} background" for word, some in PLACES.items() for place in some}
    text = json.dumps({"names": names, "places": places}, indent=1)
    (folder / THINGS).write_text(text + "\n", encoding="utf-8")


def choose_article(word: str) -> str:
    """Return "an" before a vowel, else "a"."""
    return "an" if word[0] in "aeiou" else "a"

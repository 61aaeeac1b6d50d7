"""What the model knows, for images that are composed of several things and for notices: models/embedded/things.json."""

from __future__ import annotations

import json
from pathlib import Path

from .captions import STYLE_WORDS
from .colours import PALETTE
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
    """Write the names of the concepts that were trained on, the words for the ground of each place, and the captions'
    other words."""
    names = sorted({name for concept in load_concepts() if not concept.held_out for name in concept.names})
    places = {place: f"on {choose_article(word)} {word} background" for word, some in PLACES.items() for place in some}
    words = sorted({*PALETTE, *(word for style in STYLE_WORDS.values() for word in style.split()), "background"})
    text = json.dumps({"names": names, "places": places, "words": words}, indent=1)
    (folder / THINGS).write_text(text + "\n", encoding="utf-8")


def choose_article(word: str) -> str:
    """Return "an" before a vowel, else "a"."""
    return "an" if word[0] in "aeiou" else "a"

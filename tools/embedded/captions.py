"""Captions: which words go with which drawing, and which combinations are kept from training."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .colours import PALETTE

STYLE_WORDS = {"3d": "3d style", "flat": "flat style"}
PLURAL_OR_MASS = frozenset(
    "cherries grapes blueberries peanuts bread pancakes cheese bacon french-fries fries popcorn salad rice ramen"
    " noodles spaghetti pasta sushi chocolate honey milk coffee tea beer soda flowers leaves corn broccoli garlic"
    " planet-earth fire lightning glasses sunglasses jeans trousers gloves socks shorts headphones books scissors"
    " crossed-swords swords clapping-hands lips footprints musical-notes thumbs-up soap yarn saturn earth clover"
    " lettuce poop fork-and-knife".split()
)
"""Names that take no article, with hyphens for spaces."""


def add_article(phrase: str) -> str:
    """Return the phrase with "a" or "an" before it, unless its noun takes none."""
    words = phrase.split()
    nouns = {"-".join(words), "-".join(words[1:]), words[-1]}
    if nouns & PLURAL_OR_MASS:
        return phrase
    return ("an " if phrase[0] in "aeiou" and not phrase.startswith(("uni", "ufo")) else "a ") + phrase


def filter_uncoloured(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that contain no colour word; a recoloured drawing may only go by these."""
    free = tuple(name for name in names if not set(name.split()) & set(PALETTE))
    return tuple(name for name in free if name not in ("polar bear",))


@dataclass(frozen=True)
class View:
    """One way to show a drawing: style, colour word (None: as drawn), ground colour (None: white), mirrored."""

    style: str
    colour: str | None = None
    ground: str | None = None
    mirrored: bool = False


def build_caption(name: str, view: View, natural: str | None = None, article: bool = True, styled: bool = False) -> str:
    """Build one caption, e.g. "a red car on a blue background, flat style".

    Args:
        name: The concept's name.
        view: How it is shown.
        natural: The colour word of the drawing as it is, to be said although nothing was recoloured.
        article: Whether to begin with "a" or "an".
        styled: Whether to name the style; the flat style is always named.
    """
    colour = view.colour or natural
    phrase = f"{colour} {name}" if colour else name
    if article:
        phrase = add_article(phrase)
    if view.ground:
        phrase += f" on {add_article(view.ground + ' background')}"
    if styled or view.style != "3d":
        phrase += f", {STYLE_WORDS[view.style]}"
    return phrase


def build_captions(names: tuple[str, ...], view: View, natural: str | None, rng: random.Random) -> list[str]:
    """Return one to three captions for a view: the usual name first, then another name or wording."""
    usable = filter_uncoloured(names) if view.colour else names
    first = build_caption(usable[0], view, article=True)
    other = build_caption(rng.choice(usable), view, article=rng.random() < 0.4, styled=rng.random() < 0.3)
    result = [first, other]
    if natural and not view.colour and filter_uncoloured(names):
        result.append(build_caption(filter_uncoloured(names)[0], view, natural=natural))
    return list(dict.fromkeys(result))


def is_held_out(label: str, colour: str) -> bool:
    """Return whether a (concept, colour) pair is kept from training: about one pair in ten, the same on every call."""
    return random.Random(f"{label}/{colour}").random() < 0.10

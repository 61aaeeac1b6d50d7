"""Enhancing a prompt by rules: what it does not say yet (place, light, medium, composition, mood, colour) is proposed,
at most three parts at a time.

The user's words stay as they are and come first. Nothing is ever said about people: who they are, what they wear or
believe is the user's to say, and where a place or a time is named nothing is added that could contradict it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from studio.core.model import Look
from studio.prompting.choices import draw_integer, draw_sample
from studio.prompting.dialects import Dialect
from studio.prompting.wildcards import WordLists

MAX_ADDITIONS = 3
_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r":\s{0,9}-?[\d.]{1,20}$")  # before AND it belongs to the first prompt
_MAX_WEIGHT = 32  # characters, with its colon


@dataclass(frozen=True)
class _Slot:
    """Something that a prompt can say: how to see that it does, and the wildcard with what it could say."""

    name: str
    said: re.Pattern[str]
    wildcard: str


def _compile(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)


_COLOURS = "red|orange|yellow|green|turquoise|blue|violet|purple|pink|white|black|gr[ea]y|brown|gold(?:en)?|silver|teal"
_SLOTS = (
    _Slot(
        "light",
        _compile(
            r"\w*lights?|lighting|lit|backlit|sun\w*|moon\w*|dawn|dusk|noon|night|golden hour|blue hour|shadows?|neon|"
            r"glow\w*|candle\w*|lamp\w*|bright|dark\w*|softbox|overcast|fog\w*"
        ),
        "light",
    ),
    _Slot(
        "medium",
        _compile(
            r"photo\w*|painting|painted|watercolou?rs?|drawing|drawn|sketch\w*|illustration|render\w*|3d|anime|manga|"
            r"comic|pixel art|ink|oil|gouache|pastels?|charcoal|etching|woodcut|linocut|vector|collage|mosaic|"
            r"sculpture|\d+ ?mm|lens|film|polaroid|logo|icon|poster|cartoon|clay"
        ),
        "",  # a camera or a medium, by what the model was made for
    ),
    _Slot(
        "composition",
        _compile(
            r"close-?up|wide shot|full body|portrait|composition|rule of thirds|from (?:above|below|behind)|low angle|"
            r"high angle|aerial|bird's eye|panorama|symmetr\w*|centred|centered|macro|headshot|wide-angle|silhouette|"
            r"view"
        ),
        "composition",
    ),
    _Slot(
        "mood",
        _compile(
            r"calm|myster\w*|joy\w*|happy|sad|melanchol\w*|dramatic|dream\w*|co[sz]y|tense|serene|playful|solemn|"
            r"nostalgi\w*|hopeful|quiet|wild|majestic|intimate|whimsical|eerie|peaceful|mood|atmospher\w*|epic|gloomy"
        ),
        "mood",
    ),
    _Slot(
        "colour",
        _compile(_COLOURS + r"|colou?r\w*|palette|monochrom\w*|black and white|pastels?|vivid|muted|sepia|desaturated"),
        "palette",
    ),
)
SLOTS = tuple(slot.name for slot in _SLOTS)


@dataclass(frozen=True)
class Addition:
    """A proposed phrase, and what it says something of."""

    slot: str
    text: str


def propose_additions(
    prompt: str,
    seed: int,
    lists: WordLists,
    *,
    look: Look = Look.ANY,
    without: Collection[str] = (),
) -> tuple[Addition, ...]:
    """Phrases for at most MAX_ADDITIONS of what `prompt` does not say, drawn by `seed`; nothing for `without`, which
    names slots that the user does not want."""
    text = re.sub(r"<[^<>]{0,300}>", " ", prompt)
    missing = [slot for slot in _SLOTS if slot.name not in without and not slot.said.search(text)]
    picked = sorted(draw_sample(seed, "slots", len(missing), MAX_ADDITIONS))
    return tuple(_draw_addition(missing[index], seed, lists, look) for index in picked)


def join_additions(prompt: str, additions: Collection[Addition], dialect: Dialect) -> str:
    """`prompt` with the additions behind it; behind the first prompt where AND divides several."""
    if not additions:
        return prompt
    found = _AND.search(prompt)
    end = len(prompt) if found is None else _find_end(prompt[: found.start()])
    first, rest = prompt[:end], prompt[end:]
    words = ", ".join(addition.text for addition in additions)
    if not first.strip():
        return words + rest
    tail = first[len(first.rstrip()) :]
    body = first.rstrip()
    if dialect is Dialect.SENTENCES and found is None:
        sentence = words[0].upper() + words[1:] + "."
        return f"{body}{'' if body[-1] in '.!?…' else '.'} {sentence}{tail}"
    return f"{body}{'' if body[-1] in ',.!?…' else ','} {words}{tail}{rest}"


def _find_end(prompt: str) -> int:
    """Where the words of a prompt end that AND follows: before its weight, and the spaces before that."""
    words = prompt.rstrip()
    weight = _WEIGHT.search(words[-_MAX_WEIGHT:])
    return len(words if weight is None else words[: -len(weight[0])].rstrip())


def _draw_addition(slot: _Slot, seed: int, lists: WordLists, look: Look) -> Addition:
    wildcard = slot.wildcard
    if not wildcard:
        photo = draw_integer(seed, "camera or medium", 2) == 0 if look is Look.ANY else look is Look.PHOTO
        wildcard = "camera" if photo else "medium"
    values = lists.get(wildcard).values
    text = values[draw_integer(seed, f"addition {slot.name}", len(values))]
    return Addition(slot.name, f"{text} mood" if slot.name == "mood" else text)

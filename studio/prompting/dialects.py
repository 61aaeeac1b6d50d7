"""How a model wants to be written for, what it was made to draw, and advice where prompt and model do not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from studio.core.feature import Feature
from studio.core.model import Look, Model

_MAX_METADATA_CHARS = 200_000  # that are looked at

# Names of widely used checkpoints and words in them; compared without digits, case and punctuation.
_ANIME_NAMES = (
    "anime animagine anything illustrious noobai pony waifu manga counterfeit meinamix hassaku abyssorange novelai toon"
    " ghibli wainsfw nijijourney"
).split()
_PHOTO_NAMES = (
    "photo realistic realism realvis juggernaut absolutereality photon analog cyberrealistic epicrealism deliberate"
    " portraitplus"
).split()
_ANIME_TAGS = re.compile(r"\b(?:1girl|1boy|anime|manga|danbooru|booru)\b", re.IGNORECASE)
_PHOTO_TAGS = re.compile(r"\b(?:photo|photograph|photography|photorealistic|photorealism)\b", re.IGNORECASE)

_PHOTO_WORDS = re.compile(
    r"\b(?:photo(?:s|graph|graphs|graphy|realistic|realism)?|\d{2,3} ?mm|dslr|shallow depth of field|film grain|"
    r"polaroid|documentary|macro lens|telephoto)\b",
    re.IGNORECASE,
)
_ANIME_WORDS = re.compile(
    r"\b(?:anime|manga|1girl|1boy|2girls|chibi|cel shading|cel-shaded|visual novel|danbooru|score_9|masterpiece)\b",
    re.IGNORECASE,
)


class Dialect(StrEnum):
    """Whole sentences, phrases divided by commas, or tags as image boards use them."""

    SENTENCES = "sentences"
    PHRASES = "phrases"
    TAGS = "tags"


@dataclass(frozen=True)
class Advice:
    """Why prompt and model do not fit, and the id of a model that does, "" where there is none."""

    text: str
    model: str = ""


def find_look(name: str, metadata: Mapping[str, str]) -> Look:
    """What a checkpoint was made to draw, from its name and what its file says of its training."""
    plain = re.sub(r"[^a-z]", "", name.casefold())
    by_name = _decide_look(any(word in plain for word in _ANIME_NAMES), any(word in plain for word in _PHOTO_NAMES))
    if by_name is not Look.ANY:
        return by_name
    said = "\n".join(metadata.values())[:_MAX_METADATA_CHARS]
    return _decide_look(_ANIME_TAGS.search(said) is not None, _PHOTO_TAGS.search(said) is not None)


def find_dialect(model: Model) -> Dialect:
    """How `model` wants to be written for. CLIP was trained with captions of phrases; anime models with tags."""
    if Feature.PROMPT_SYNTAX not in model.features:
        return Dialect.SENTENCES
    return Dialect.TAGS if model.look is Look.ANIME else Dialect.PHRASES


def advise_model(prompt: str, model: Model, models: Iterable[Model]) -> Advice | None:
    """What to tell about a prompt that asks for another look than the model was made for; None where they fit. Of
    `models` one that fits is named, one of the same lane first."""
    wanted = _decide_look(_ANIME_WORDS.search(prompt) is not None, _PHOTO_WORDS.search(prompt) is not None)
    if Look.ANY in (wanted, model.look) or wanted is model.look:
        return None
    fitting = [one for one in models if one.look is wanted and not one.problem and model.tasks & one.tasks]
    fitting.sort(key=lambda one: one.lane != model.lane)
    nouns = {Look.PHOTO: "a photo", Look.ANIME: "anime"}
    made = {Look.PHOTO: "photos", Look.ANIME: "anime and drawings"}
    text = f"The prompt asks for {nouns[wanted]}, but {model.title} is made for {made[model.look]}."
    if not fitting:
        return Advice(text)
    return Advice(f"{text} {fitting[0].title} fits better.", fitting[0].id)


def _decide_look(anime: bool, photo: bool) -> Look:
    if anime == photo:
        return Look.ANY
    return Look.ANIME if anime else Look.PHOTO

"""Random prompts from our own words and templates, by subject and for the way a model wants to be written for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.prompting.choices import draw_integer
from studio.prompting.dialects import Dialect
from studio.prompting.dynamic import expand_template
from studio.prompting.wildcards import WordLists

# The subject as a sentence and as a phrase; both are dynamic prompts.
_SUBJECTS: Mapping[str, tuple[str, str]] = {
    "animal": ("a __animal__ __place__", "__animal__, __place__"),
    "landscape": ("the __landscape__ in __season__", "__landscape__, __season__, __weather__"),
    "architecture": ("a __architecture__ at __time__", "__architecture__, __time__, __weather__"),
    "object": ("a __object__ made of __material__", "__object__, __material__, __texture__"),
    "food": ("__food__ on a {table|wooden board|plate|linen cloth}", "__food__, {table|wooden board|linen cloth}"),
    "vehicle": ("a __vehicle__ __place__", "__vehicle__, __place__, __weather__"),
    "plant": ("a __plant__ in __season__", "__plant__, __season__, {dewdrops|soft background|close-up}"),
    "people": ("a person __activity__ __place__", "person __activity__, __place__"),
    "fantasy": ("a __fantasy__ at __time__", "__fantasy__, __time__, __mood__"),
}
_SENTENCES = (
    "{__camera__|__medium__} of {subject}, __composition__. {The scene has|It is seen in} __light__, with a __mood__"
    " mood, in __palette__.",
    "{__camera__|__medium__} showing {subject}, __composition__. There is __light__, and the mood is __mood__.",
)
_PHRASES = (
    "{subject}, {__camera__, __lens__|__medium__, __art_movement__}, __light__, __composition__, __mood__, __palette__",
    "{__camera__|__medium__} of {subject}, __light__, __mood__, {__composition__|__palette__}",
)
_TAGS = "{subject}, {3$$__tags/detail__}, {__light__|__weather__}, __mood__"
_NEGATIVES: Mapping[Dialect, str] = {
    Dialect.SENTENCES: "{3$$__flaws/photo__}",
    Dialect.PHRASES: "{4-6$$__flaws/photo__}",
    Dialect.TAGS: "{5-7$$__flaws/drawing__}",
}
SUBJECTS = tuple(_SUBJECTS)


@dataclass(frozen=True)
class RandomPrompt:
    """A drawn prompt, and what it is about."""

    subject: str
    prompt: str
    negative_prompt: str


def draw_random_prompt(
    seed: int, dialect: Dialect, lists: WordLists, *, subject: str = "", negative: bool = True
) -> RandomPrompt:
    """The prompt of `seed`; about anything without a `subject`. Without `negative` the negative prompt is empty.

    Raises:
        InvalidRequest: an unknown subject.
    """
    if subject and subject not in _SUBJECTS:
        raise InvalidRequest(f"There is no subject {subject[:40]!r}.", hint="There are: " + ", ".join(SUBJECTS) + ".")
    about = subject or SUBJECTS[draw_integer(seed, "subject", len(SUBJECTS))]
    sentence, phrase = _SUBJECTS[about]
    if dialect is Dialect.TAGS:
        text = _TAGS.replace("{subject}", phrase)
    else:
        frames = _SENTENCES if dialect is Dialect.SENTENCES else _PHRASES
        frame = frames[draw_integer(seed, "frame", len(frames))]
        text = frame.replace("{subject}", sentence if dialect is Dialect.SENTENCES or " of {" in frame else phrase)
    drawn = _tidy(expand_template(text, seed, lists), sentences=dialect is Dialect.SENTENCES)
    return RandomPrompt(about, drawn, draw_negative(seed, dialect, lists) if negative else "")


def draw_negative(seed: int, dialect: Dialect, lists: WordLists) -> str:
    """A negative prompt of usual flaws."""
    return expand_template(_NEGATIVES[dialect], seed, lists)


def _tidy(text: str, *, sentences: bool) -> str:
    """`text` with "an" where it belongs, single spaces, and capitals where sentences begin."""
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", " ".join(text.split()))
    if not sentences:
        return text
    return re.sub(r"(^|[.] )([a-z])", lambda found: found[1] + found[2].upper(), text)

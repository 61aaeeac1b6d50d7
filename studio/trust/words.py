"""What a text asks for, by word lists in several languages: editable, fast, and not clever.

A text is compared in three readings, so that neither the syntax of prompts nor spelling tricks hide a word: as it
stands, with single letters joined ("n a k e d"), and with punctuation inside words left out ("na(ked:1.2)"). In each
word look-alike letters and digits that stand for letters are read as the letters too.
"""

from __future__ import annotations

import copy
import functools
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from studio.core.errors import NotConfigured
from studio.core.trust import MINORS, Stage, Verdict

SCORE_LIMIT = 1.0
NAME = "The word list"
_SCORES = {"strong": 1.0, "bodily": 1.0, "weak": 0.5}
_RELAXED = ("bodily", "weak")  # what counts nothing where a text has a word of the contexts
_GROWN_UP = 18  # years

_LOOK_ALIKES = str.maketrans(
    "авгеикмнопрстухіјѕԁԛԝαβγεηικνορτυχωɑɡıʏ",
    "abreukmhonpctyxijsdqwabyenikvoptuxwagiy",
)
_LEET = str.maketrans("0134578@$!", "oieastbasi")
_LEET_L = str.maketrans({"1": "l", "!": "l"})
# Both without a second look at what was matched: a prompt of one character 20,000 times must not hold the studio up.
_TOKEN = re.compile(r"[^\W_]++(?:[@$!]++[^\W_]++)*+|(?<![@$!])[@$!]++[^\W_]++")
_INSIDE_WORD = re.compile(r"(?<=[^\W\d_])[()\[\]{}*|\\/.,'’\"“”~^_+:;<>-]{1,6}(?=[^\W\d_])")
_TAG = re.compile(r"<[a-z]+:[^<>]*>")  # of LoRAs, which are taken out of prompts
_ALTERNATION = re.compile(r"\[([^\[\]|]*)\|[^\[\]]*\]")  # of which a step reads one
_WEIGHT = re.compile(r":\s*[0-9.]+\s*(?=[)\]>])")
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # scripts without spaces, and Korean
_AGE = re.compile(r"\b(?:aged?[\s:=]+(\d{1,2})|(\d{1,2})\s*(?:-\s*)?(?:y\.?o|y o|yrs?|years?|year)\b(?:[\s-]*old)?)")
_SHORTEST_RUN = 3  # single letters that are read as one word
_LONGEST_KNOWN = 40  # characters of a word whose forms are remembered


@dataclass(frozen=True)
class _Term:
    """One entry of a list. `begins` means that its last word is only the beginning of one."""

    text: str
    words: tuple[str, ...]
    begins: bool
    level: str


@dataclass
class _Lexicon:
    """Terms that can be looked up by their first word."""

    by_first: dict[str, list[_Term]] = field(default_factory=dict[str, list[_Term]])
    beginnings: list[_Term] = field(default_factory=list[_Term])
    unspaced: list[tuple[str, _Term]] = field(default_factory=list[tuple[str, _Term]])

    def add(self, text: str, level: str) -> None:
        folded = fold_text(text.removesuffix("*"))
        words, begins = tuple(_TOKEN.findall(folded)), text.endswith("*")
        if not words:
            return
        term = _Term(text.removesuffix("*"), words, begins, level)
        if _UNSPACED.search(folded):
            self.unspaced.append(("".join(folded.split()), term))
        elif begins and len(words) == 1:
            self.beginnings.append(term)
        else:
            self.by_first.setdefault(words[0], []).append(term)

    def find(self, readings: Sequence[_Reading]) -> set[_Term]:
        """The terms that any of the readings has."""
        found: set[_Term] = set()
        for reading in readings:
            for place, forms in enumerate(reading.words):
                for form in forms:
                    found.update(t for t in self.by_first.get(form, ()) if reading.has(t, place))
                    found.update(t for t in self.beginnings if form.startswith(t.words[0]) and reading.has(t, place))
            found.update(term for text, term in self.unspaced if text in reading.compact)
        return found


class _Reading:
    """A text as the forms that each of its words may be read as."""

    def __init__(self, text: str, words: Sequence[str], plain: frozenset[str] = frozenset()) -> None:
        """`plain` are the words of the text as it stands; a term has to have another one."""
        self.compact = "".join(text.split())
        self.words = [_find_forms(word) for word in words]
        self._new = [word not in plain for word in words]

    def has(self, term: _Term, place: int) -> bool:
        """Whether `term` stands at that word."""
        if place + len(term.words) > len(self.words) or not any(self._new[place : place + len(term.words)]):
            return False
        last = len(term.words) - 1
        return all(
            any(form.startswith(word) if term.begins and number == last else form == word for form in forms)
            for number, (word, forms) in enumerate(zip(term.words, self.words[place:], strict=False))
        )

    def take_out(self, terms: _Lexicon) -> _Reading:
        """The same in which the words of the phrases of `terms` count as none."""
        left = copy.copy(self)
        left.words = list(self.words)
        for place, forms in enumerate(self.words):
            for form in forms:
                for term in terms.by_first.get(form, ()):
                    if self.has(term, place):
                        left.words[place : place + len(term.words)] = [frozenset[str]()] * len(term.words)
        return left


@dataclass(frozen=True)
class _Category:
    id: str
    title: str
    terms: _Lexicon
    harmless: _Lexicon
    contexts: _Lexicon


class WordFilter:
    """Finds categories of words in texts. Thread-safe."""

    def __init__(self, lists: Sequence[Mapping[str, Any]]) -> None:
        """`lists` are the contents of word files; later ones add to, and take from, earlier ones."""
        merged = _merge_lists(lists)
        self._categories = [_build_category(name, entry) for name, entry in merged.items()]

    @classmethod
    def load(cls, own: Path) -> WordFilter:
        """Our lists, and those of the file `own` where it is there.

        Raises:
            NotConfigured: the file `own` is not one of lists.
        """
        lists = [tomllib.loads(files("studio.trust").joinpath("words.toml").read_text(encoding="utf-8"))]
        try:
            lists.append(tomllib.loads(own.read_text(encoding="utf-8")))
            return cls(lists)
        except FileNotFoundError:
            return cls(lists)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise NotConfigured(
                f"The word lists in {own.name} cannot be read: {error}.", hint="Correct the file, or remove it."
            ) from error

    def check(self, texts: Sequence[str], stage: Stage) -> list[Verdict]:
        """What is found in any of `texts`; words for minors together with sexual ones come first."""
        found: list[Verdict] = []
        for text in dict.fromkeys(texts):
            found += self._check_text(fold_text(text), stage)
            if found and found[-1].category == MINORS:
                return found[-1:]
        return found

    def _check_text(self, text: str, stage: Stage) -> list[Verdict]:
        """What is found in one folded text; a verdict about minors stands alone."""
        readings = _list_readings(text)
        terms = {one.id: _find_terms(one, readings) for one in self._categories}
        sexual, young = terms.get("sexual", set[_Term]()), {term.text for term in terms.get(MINORS, set[_Term]())}
        if sexual:
            young |= {f"{years} years" for years in _list_ages(text) if years < _GROWN_UP}
        if sexual and young:
            words = (*sorted(young), *sorted(term.text for term in sexual))
            return [Verdict(category=MINORS, score=1.0, limit=0.5, stage=stage, by=NAME, words=words)]
        verdicts = (_judge(one, terms[one.id], stage) for one in self._categories if one.id != MINORS)
        return [verdict for verdict in verdicts if verdict is not None]


def fold_text(text: str) -> str:
    """`text` without what differs between spellings of the same: case, accents, widths, and characters that cannot be
    seen."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = (char for char in plain if unicodedata.category(char) not in ("Mn", "Cf", "Me"))
    return unicodedata.normalize("NFC", "".join(kept))


def _judge(category: _Category, terms: set[_Term], stage: Stage) -> Verdict | None:
    score = sum(_SCORES[term.level] for term in terms)
    if score < SCORE_LIMIT:
        return None
    return Verdict(
        category=category.title,
        score=1.0,
        limit=SCORE_LIMIT,
        stage=stage,
        by=NAME,
        words=tuple(sorted(term.text for term in terms)),
    )


def _find_terms(category: _Category, given: Sequence[_Reading]) -> set[_Term]:
    """The terms of `category` that count in a text with these readings."""
    readings = [reading.take_out(category.harmless) for reading in given]
    found = category.terms.find(readings)
    if any(term.level in _RELAXED for term in found) and category.contexts.find(readings):
        return {term for term in found if term.level not in _RELAXED}
    return found


def _list_readings(text: str) -> list[_Reading]:
    words = _TOKEN.findall(text)
    readings = [_Reading(text, words)]
    joined = _join_single_letters(words)
    if len(joined) < len(words):
        readings.append(_Reading("", joined, frozenset(words)))
    bare = _INSIDE_WORD.sub("", _WEIGHT.sub("", _ALTERNATION.sub(r"\1", _TAG.sub("", text))))
    if bare != text:
        readings.append(_Reading(bare, _TOKEN.findall(bare), frozenset(words)))
    return readings


def _join_single_letters(words: Sequence[str]) -> list[str]:
    joined: list[str] = []
    run: list[str] = []
    for word in (*words, ""):
        if len(word) == 1:
            run.append(word)
            continue
        joined += ["".join(run)] if len(run) >= _SHORTEST_RUN else run
        run = []
        if word:
            joined.append(word)
    return joined


def _find_forms(word: str) -> frozenset[str]:
    return _remember_forms(word) if len(word) <= _LONGEST_KNOWN else _list_forms(word)


@functools.lru_cache(maxsize=50_000)
def _remember_forms(word: str) -> frozenset[str]:
    return _list_forms(word)


def _list_forms(word: str) -> frozenset[str]:
    """What `word` may be read as: itself, with look-alikes as Latin letters, and with digits as letters."""
    forms = {word}
    latin = word.translate(_LOOK_ALIKES)
    if latin.isascii():
        forms.add(latin)
    if not latin.isalpha() and any(char.isalpha() for char in latin):
        forms |= {latin.translate(_LEET), latin.translate(_LEET_L).translate(_LEET)}
    return frozenset(forms)


def _list_ages(text: str) -> list[int]:
    return [int(found[1] or found[2]) for found in _AGE.finditer(text)]


def _merge_lists(lists: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for content in lists:
        for name, entry in content.items():
            known = merged.setdefault(name, {"title": name, "levels": {}, "harmless": [], "contexts": []})
            known["title"] = entry.get("title", known["title"])
            for part in ("harmless", "contexts"):
                known[part] = [*known[part], *entry.get(part, [])]
            for level in ("strong", "bodily", "weak"):
                words = [word for each in entry.get(level, {}).values() for word in each]
                known["levels"][level] = [*known["levels"].get(level, []), *words]
            known["levels"]["strong"] += entry.get("words", [])
            gone = set(entry.get("without", []))
            known["levels"] = {level: [w for w in words if w not in gone] for level, words in known["levels"].items()}
    return merged


def _build_category(name: str, entry: Mapping[str, Any]) -> _Category:
    terms, harmless, contexts = _Lexicon(), _Lexicon(), _Lexicon()
    for level, words in entry["levels"].items():
        for word in dict.fromkeys(words):
            terms.add(word, level)
    for phrase in entry["harmless"]:
        harmless.add(phrase, "")
    for word in entry["contexts"]:
        contexts.add(word, "")
    return _Category(name, entry["title"], terms, harmless, contexts)

"""What a brief says of places, languages, time, occasion and people, by rules and tables; no model, no network.

A bare nationality gives a question, never a filler. Nothing here adds anything to a prompt.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.prompts import Caution, Classification, Corrections

MAX_CHARS = 20_000  # of a brief
_FOLDER = Path(__file__).parent
_WORD = re.compile(r"[^\W_]+(?:['’.\-][^\W_]+)*")
_LONGEST_NAME = 6  # words
_WITHOUT_SPACES = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
_CYRILLIC, _HANGUL = re.compile(r"[а-яёґєії]"), re.compile(r"[가-힣]")
_CYRILLIC_ENDINGS = tuple("ами ями ой ей ом ем ою ею ію єю ы и і ї е є у ю а я".split())
_KOREAN_PARTICLES = tuple("에서 에게 으로 까지 부터 의 에 은 는 이 가 을 를 과 와 로 도".split())
_MIN_STEM = 4  # characters of a name without its ending, from which it names nothing else
_YEAR = re.compile(r"\b(?:in )?(1[0-9]{3}|20[0-9]{2})(s?)\b")
_ERAS: Mapping[str, re.Pattern[str]] = {
    "ancient": re.compile(r"\b(?:ancient|roman empire|pharaohs?|antiquity|bronze age|stone age|neolithic)\b", re.I),
    "viking age": re.compile(r"\bvikings?\b", re.I),
    "medieval": re.compile(r"\b(?:medieval|middle ages|knights?|samurai|feudal)\b", re.I),
    "renaissance": re.compile(r"\brenaissance\b", re.I),
    "victorian": re.compile(r"\bvictorian\b", re.I),
    "contemporary": re.compile(r"\b(?:today|contemporary|modern|present[- ]day|nowadays)\b", re.I),
    "future": re.compile(r"\b(?:futuristic|future|cyberpunk|sci-?fi)\b", re.I),
}
_PEOPLE = re.compile(
    r"\b(?:people|person|man|men|woman|women|child|children|kids?|girls?|boys?|family|couple|crowd|father|mother|"
    r"grand(?:mother|father)|friends?|portrait|farmers?|doctors?|nurses?|teachers?|soldiers?|workers?|dancers?|"
    r"chefs?|bride|groom|pope|king|queen|president|vikings?|students?|vendors?|musicians?|team|scientists?)\b",
    re.I,
)
_AUDIENCE = re.compile(
    r"\b(?:for|aimed at|addressed to)\s+(?:[\w-]+\s+){0,2}?"
    r"(children|kids|toddlers|teen(?:ager)?s|students|parents|families|grandparents|seniors|pensioners|tourists|"
    r"travell?ers|commuters|gamers|beginners|professionals|developers|investors|customers|employees|readers|fans|"
    r"collectors|athletes|runners|cyclists|hikers|foodies|newlyweds|homeowners|donors|volunteers|patients)\b",
    re.I,
)
_NAMED_PERSON = re.compile(r"\b(?:the )?(?:pope|dalai lama|queen elizabeth|gandhi|mandela|napoleon|einstein)\b", re.I)
_SETTINGS: Mapping[str, re.Pattern[str]] = {
    "outdoors": re.compile(r"\b(?:street|beach|forest|mountains?|park|garden|sea|field|market|desert)\b", re.I),
    "indoors": re.compile(r"\b(?:kitchen|room|office|studio|restaurant|caf[eé]|temple|church|shop|table)\b", re.I),
}
_REGIONS: Mapping[str, str] = {
    "africa": "Africa",
    "african": "Africa",
    "europe": "Europe",
    "european": "Europe",
    "asia": "Asia",
    "asian": "Asia",
    "latin america": "Latin America",
    "middle east": "Middle East",
    "scandinavia": "Northern Europe",
    "scandinavian": "Northern Europe",
    "caribbean": "Caribbean",
}
_GEORGIA_IS_A_COUNTRY = re.compile(r"\b(?:tbilisi|batumi|caucasus|khachapuri|country of georgia)\b", re.I)
_GEORGIA_IS_A_STATE = re.compile(r"\b(?:atlanta|savannah|usa|u\.s\.|state of georgia|peach(?:es)?|southern)\b", re.I)


@dataclass(frozen=True)
class _Tables:
    names: Mapping[str, str]
    demonyms: Mapping[str, str]
    stems: Mapping[str, str]  # names in Cyrillic letters without the vowel that changes
    languages: Mapping[str, tuple[str, ...]]
    unspaced: tuple[str, ...]  # names in scripts without spaces, the longest first
    facts: Mapping[str, Any]


@functools.cache
def _get_tables() -> _Tables:
    data: dict[str, Any] = json.loads((_FOLDER / "territories.json").read_text(encoding="utf-8"))
    facts = tomllib.loads((_FOLDER / "facts.toml").read_text(encoding="utf-8"))
    names = {**data["capitals"], **data["names"], **facts["cities"]}
    demonyms = {word: codes[0] for word, codes in data["demonyms"].items() if len(codes) == 1}
    unspaced = sorted((name for name in names if _WITHOUT_SPACES.search(name)), key=len, reverse=True)
    languages = {code: tuple(found) for code, found in data["languages"].items()}
    stems = {
        name[:-1]: code
        for name, code in names.items()
        if _CYRILLIC.match(name) and name[-1] in "аяоейь" and len(name) > _MIN_STEM
    }
    return _Tables(names, {**demonyms, **facts["demonyms"]}, stems, languages, tuple(unspaced), facts)


def classify_brief(text: str) -> Classification:
    """What `text` says; what it does not say stays empty. Never fails."""
    text = text[:MAX_CHARS]
    tables = _get_tables()
    because: dict[str, str] = {}
    bare = _find_territories(_blank_phrases(text, tables), tables, because)
    _settle_georgia(text, because)
    lowered = " ".join(text.casefold().split())
    occasion = next((entry for entry in tables.facts["occasion"] if _holds_any(lowered, entry["words"])), None)
    codes: list[str] = occasion.get("territories", []) if occasion else []
    for code in codes:
        because.setdefault(code, occasion["name"] if occasion else "")
    era = _find_era(text)
    audience = _AUDIENCE.search(text)
    people = _PEOPLE.search(text) is not None
    territories = tuple(because)
    return Classification(
        regions=tuple(dict.fromkeys(name for word, name in _REGIONS.items() if _holds_any(lowered, [word]))),
        territories=territories,
        languages=_list_languages(territories, tables),
        audience=audience[1].lower() if audience else "",
        era=era,
        occasion=occasion["name"] if occasion else "",
        setting=next((name for name, said in _SETTINGS.items() if said.search(text)), ""),
        people=people,
        cautions=tuple(_find_cautions(lowered, tables)),
        questions=tuple(_list_questions(text, era, bare, people=people)),
        because=tuple(because.items()),
    )


def correct_classification(known: Classification, said: Corrections) -> Classification:
    """`known` with what the user says in its place; a question that this answers is not asked again.

    Raises:
        InvalidRequest: no territory of a name; the message says which.
    """
    if said == Corrections():
        return known
    tables = _get_tables()
    places: dict[str, Any] = {}
    if said.territories is not None:
        found = {_find_code(name, tables): name for name in said.territories}
        places = {
            "territories": tuple(found),
            "languages": _list_languages(found, tables),
            "because": tuple((code, dict(known.because).get(code, name)) for code, name in found.items()),
            "regions": (),
        }
    given = {name: getattr(said, name) for name in ("audience", "era", "occasion", "setting", "people")}
    changed = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(known, **places, **changed, questions=())


def _find_code(name: str, tables: _Tables) -> str:
    code = name.strip().upper()
    if code in tables.languages:
        return code
    found = tables.names.get(" ".join(name.casefold().replace("’", "'").split()))
    if found is None:
        raise InvalidRequest(f"No territory is called “{name[:60]}”.", hint="Give its usual name or ISO code.")
    return found


def _list_languages(territories: Iterable[str], tables: _Tables) -> tuple[str, ...]:
    """The first language of each, without repetition."""
    return tuple(dict.fromkeys(tables.languages[code][0] for code in territories if code in tables.languages))


def _find_territories(text: str, tables: _Tables, because: dict[str, str]) -> list[str]:
    """Fill `because` with territories and the words that name them; gives the words that are demonyms."""
    words = [(found[0], found[0].casefold().replace("’", "'")) for found in _WORD.finditer(text)]
    has_capitals = any(raw[:1].isupper() for raw, _ in words[1:]) or (len(words) < 2)
    bare: list[str] = []
    at = 0
    while at < len(words):
        for size in range(min(_LONGEST_NAME, len(words) - at), 0, -1):
            phrase = " ".join(word for _, word in words[at : at + size])
            known = tables.names.get(phrase) or tables.demonyms.get(phrase)
            if known is None and size == 1:
                known = _find_inflected(phrase, tables)
            raw = words[at][0]
            if known is None or not _is_meant(raw, phrase, words, at, has_capitals=has_capitals, tables=tables):
                continue
            because.setdefault(known, phrase)
            if phrase in tables.demonyms and phrase not in tables.names:
                bare.append(phrase)
            at += size - 1
            break
        at += 1
    for name in tables.unspaced:
        if name in text:
            because.setdefault(tables.names[name], name)
            text = text.replace(name, " ")
    return bare


def _find_inflected(word: str, tables: _Tables) -> str | None:
    """The territory that a word with an ending names, in languages that put endings to names: Slavic ones in Cyrillic
    letters, and Korean."""
    endings = _CYRILLIC_ENDINGS if _CYRILLIC.match(word) else _KOREAN_PARTICLES if _HANGUL.match(word) else ()
    for ending in endings:
        stem = word.removesuffix(ending)
        if stem != word and (known := tables.stems.get(stem) or tables.names.get(stem)):
            return known
    return None


def _is_meant(
    raw: str, phrase: str, words: list[tuple[str, str]], at: int, *, has_capitals: bool, tables: _Tables
) -> bool:
    """Whether the phrase is a place: names in Latin script want a capital where the text has any, and words that mean
    something else as well want one always."""
    if not raw[0].isascii() and raw[0].lower() == raw[0].upper():  # a script without capitals
        return len(phrase) > 1
    if phrase in tables.facts["capital_only"]:
        near = {word for _, word in words[max(0, at - 3) : at + 4]}
        if not raw[0].isupper() or near & set(tables.facts["kitchen"]):
            return False
        return at > 0 or len(words) == 1 or phrase not in ("polish", "nice", "reading", "man", "male")
    return raw[0].isupper() or not has_capitals


def _blank_phrases(text: str, tables: _Tables) -> str:
    pattern = "|".join(re.escape(phrase) for phrase in tables.facts["phrases"])
    return re.sub(rf"\b(?:{pattern})\b", lambda found: " · " * len(found[0].split()), text, flags=re.I)


def _settle_georgia(text: str, because: dict[str, str]) -> None:
    """Georgia is a country or a state; the words around it tell, or nothing does."""
    if because.get("GE") != "georgia" or _GEORGIA_IS_A_COUNTRY.search(text):
        return
    del because["GE"]
    if _GEORGIA_IS_A_STATE.search(text):
        because.setdefault("US", "georgia")


def _find_era(text: str) -> str:
    for name, said in _ERAS.items():
        if said.search(text):
            return name
    year = _YEAR.search(text)
    return "" if year is None else f"{year[1]}{year[2]}"


def _find_cautions(lowered: str, tables: _Tables) -> Iterator[Caution]:
    for entry in tables.facts["caution"]:
        found = next((word for word in entry["words"] if _holds_any(lowered, [word])), "")
        if found and not _holds_any(lowered, entry.get("unless", [])):
            told = {name: entry[name] for name in ("weight", "text", "reference", "source")}
            yield Caution(because=found, **told)


def _list_questions(text: str, era: str, bare: list[str], *, people: bool) -> Iterator[str]:
    if re.search(r"\bGeorgia\b", text) and not (_GEORGIA_IS_A_COUNTRY.search(text) or _GEORGIA_IS_A_STATE.search(text)):
        yield "Is Georgia the country or the US state?"
    if bare and people and not era and not _NAMED_PERSON.search(text):
        yield f"Where and when is this, and what are they doing? “{bare[0]}” alone leaves it to the model's habits."


def _holds_any(lowered: str, words: list[str]) -> bool:
    return any(
        word in lowered if _WITHOUT_SPACES.search(word) else re.search(rf"(?<!\w){re.escape(word)}(?!\w)", lowered)
        for word in words
    )

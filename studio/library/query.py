"""What is searched for, as a value and as the text that a user types.

castle -night "old town" cas* model:sdxl tag:"book two" is:favourite rating:>=3 date:2026-11 meaning:"a fortress"
"""

from __future__ import annotations

import calendar
import difflib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from studio.core.errors import InvalidRequest
from studio.core.text_checks import check_text

MAX_QUERY_LENGTH = 2_000  # characters
MAX_TERMS = 200
_SPACE = re.compile(r"\s+")
_FIELD = re.compile(r"([A-Za-z]+):")
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?")
_RATING = re.compile(r"(>=|<=|>|<|=)?([0-5])")
_SIZE = re.compile(r"(\d{1,6})[x×](\d{1,6})")
ASPECTS = ("landscape", "portrait", "square")
KINDS = ("image", "audio", "video")
STATES = ("favourite", "imported", "made", "unused", "trashed")
_OTHER_STATES = {"favorite": "favourite", "fav": "favourite"}


class Order(StrEnum):
    """In which order assets are listed."""

    NEWEST = "newest"
    OLDEST = "oldest"
    RATING = "rating"
    UNUSED = "unused"
    RELEVANCE = "relevance"


class Field(StrEnum):
    """The filters, as they are typed before a colon."""

    MODEL = "model"
    LORA = "lora"
    TAG = "tag"
    COLLECTION = "collection"
    TASK = "task"
    SOURCE = "source"
    KIND = "kind"
    SEED = "seed"
    RATING = "rating"
    SIZE = "size"
    ASPECT = "aspect"
    DATE = "date"
    SINCE = "since"
    UNTIL = "until"
    IS = "is"
    MEANING = "meaning"


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word, or several that follow one another. `prefix` lets the last go on, `negated` leaves out what has it."""

    text: str
    negated: bool = False
    prefix: bool = False


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One filter. `value` is as typed, in lower case where the field has fixed values; `low` and `high` are the range
    that it stands for: a rating from and to, or times in seconds since the epoch, the end left out."""

    field: Field
    value: str
    negated: bool = False
    low: float = 0
    high: float = 0


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is searched for: all words and filters have to fit. `meaning` is what the image should mean, in any
    words."""

    words: tuple[Word, ...] = ()
    filters: tuple[Filter, ...] = ()
    meaning: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether everything fits."""
        return not (self.words or self.filters or self.meaning)


@dataclass(frozen=True, kw_only=True)
class Term:
    """A piece of the typed text, from `start` to `end` in characters. `name` is what stands before the colon and
    `value` behind it, without quotes; `value_start` is where the value begins."""

    start: int
    end: int
    value: str
    value_start: int
    name: str = ""
    negated: bool = False
    quoted: bool = False
    closed: bool = True


def parse_query(text: str) -> Query:
    """Read what a user typed.

    Raises:
        InvalidRequest: a filter that does not exist or a value that it cannot have; `details` has `from` and `to`, the
            place in `text` in characters.
    """
    check_text(text, "The search text")
    if len(text) > MAX_QUERY_LENGTH:
        raise InvalidRequest(
            f"The search text has {len(text)} characters; the limit is {MAX_QUERY_LENGTH}.", hint="Shorten it."
        )
    terms = split_terms(text)
    if len(terms) > MAX_TERMS:
        raise InvalidRequest(
            f"The search text has {len(terms)} words; the limit is {MAX_TERMS}.", hint="Use fewer words."
        )
    words: list[Word] = []
    filters: list[Filter] = []
    meanings: list[str] = []
    for term in terms:
        if not term.name:
            words.extend(_read_word(term))
        elif term.name == Field.MEANING:
            meanings.append(_check_value(term))
        else:
            filters.append(_read_filter(term))
    return Query(words=tuple(words), filters=tuple(filters), meaning=" ".join(meanings))


def split_terms(text: str) -> list[Term]:
    """The words and filters of a text with their places. A colon only makes a filter behind the name of one, or behind
    what looks like a name that was mistyped; all else is a word."""
    terms: list[Term] = []
    place = 0
    while place < len(text):
        space = _SPACE.match(text, place)
        if space is not None:
            place = space.end()
            continue
        term = _read_term(text, place)
        place = term.end
        terms.append(term)
    return terms


def _read_term(text: str, start: int) -> Term:
    place = start
    negated = text[place] == "-"
    if negated:
        place += 1
    field = _FIELD.match(text, place)
    name = "" if field is None else field[1].lower()
    if field is not None and (name in list(Field) or _suggest_field(name)):
        place = field.end()
    else:
        name = ""
    value_start = place
    if place < len(text) and text[place] == '"':
        close = text.find('"', place + 1)
        end = len(text) if close < 0 else close + 1
        value = text[place + 1 : len(text) if close < 0 else close]
        return Term(
            start=start,
            end=end,
            value=value,
            value_start=value_start,
            name=name,
            negated=negated,
            quoted=True,
            closed=close >= 0,
        )
    space = _SPACE.search(text, place)
    end = len(text) if space is None else space.start()
    return Term(start=start, end=end, value=text[place:end], value_start=value_start, name=name, negated=negated)


def _suggest_field(name: str) -> str:
    """The field that a mistyped name probably means, "" when it is like none."""
    close = difflib.get_close_matches(name, list(Field), n=1, cutoff=0.8)
    return close[0] if close else ""


def _read_word(term: Term) -> list[Word]:
    prefix = not term.quoted and term.value.endswith("*")
    text = term.value.rstrip("*") if prefix else term.value
    if prefix and len(text) == 1 and text.isascii():
        raise _make_error(term, f"“{term.value}” is too short.", "Enter at least two characters before the *.")
    return [Word(text=text, negated=term.negated, prefix=prefix)] if text else []


def _read_filter(term: Term) -> Filter:
    if term.name not in list(Field):
        raise _make_error(
            term,
            f"“{term.name}:” is not a filter.",
            f"Did you mean “{_suggest_field(term.name)}:”? Quote it as a word.",
        )
    field = Field(term.name)
    value = _check_value(term)
    fixed = _FIXED_VALUES.get(field)
    if fixed is not None:
        value = _OTHER_STATES.get(value.lower(), value.lower())
        if value not in fixed:
            raise _make_error(term, f"“{term.value}” is not possible after “{field}:”.", f"Use {', '.join(fixed)}.")
    low = high = 0.0
    if field is Field.SEED:
        if not (value.isascii() and value.isdigit()):
            raise _make_error(term, f"“{term.value}” is not a seed.", "A seed is a whole number, for example seed:42.")
        value = str(int(value[:20]))
    elif field is Field.RATING:
        low, high = _read_rating(term)
    elif field is Field.SIZE:
        found = _SIZE.fullmatch(value.lower())
        if found is None:
            raise _make_error(
                term, f"“{term.value}” is not a size.", "Write width and height, for example size:1024x1024."
            )
        value = f"{int(found[1])}x{int(found[2])}"
    elif field in (Field.DATE, Field.SINCE, Field.UNTIL):
        low, high = _read_period(term)
    return Filter(field=field, value=value, negated=term.negated, low=low, high=high)


def _check_value(term: Term) -> str:
    if not term.value.strip():
        raise _make_error(term, f"There is nothing after “{term.name}:”.", "Enter a value, or remove it.")
    return term.value.strip()


def _read_rating(term: Term) -> tuple[float, float]:
    found = _RATING.fullmatch(term.value)
    if found is None:
        raise _make_error(term, f"“{term.value}” is not a rating.", "Use 0 to 5, for example rating:4 or rating:>=3.")
    stars = int(found[2])
    return {
        ">=": (stars, 5),
        ">": (stars + 1, 5),
        "<=": (0, stars),
        "<": (0, stars - 1),
    }.get(found[1] or "=", (stars, stars))


def _read_period(term: Term) -> tuple[float, float]:
    """The local day, month or year as times, the end left out."""
    found = _DATE.fullmatch(term.value)
    try:
        if found is None:
            raise ValueError(term.value)
        year, month, day = (int(part) if part else None for part in found.groups())
        begin = datetime(year or 1, month or 1, day or 1)
        if day is not None:
            end = begin + timedelta(days=1)
        elif month is not None:
            end = begin + timedelta(days=calendar.monthrange(begin.year, begin.month)[1])
        else:
            end = datetime(begin.year + 1, 1, 1)
        return _to_seconds(begin), _to_seconds(end)
    except (ValueError, OverflowError, OSError) as error:
        raise _make_error(
            term, f"“{term.value}” is not a date.", "Write a day, a month or a year: 2026-11-29, 2026-11 or 2026."
        ) from error


def _to_seconds(when: datetime) -> float:
    return when.timestamp() if when.year > 1970 else 0.0


def _make_error(term: Term, message: str, hint: str) -> InvalidRequest:
    return InvalidRequest(message, hint=hint, details={"from": term.start, "to": term.end})


_FIXED_VALUES = {Field.IS: STATES, Field.ASPECT: ASPECTS, Field.KIND: KINDS}

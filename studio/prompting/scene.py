"""Prompts of several things taken apart, for models that know one thing at a time: plain English such as "a big dog
and two red apples on grass", read with the model's own list of names. What it does not understand it leaves alone."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

MAX_THINGS = 9
_MAX_CHARS = 4000  # longer prompts name more than that, and would take long to read

_NUMBERS = {name: value for value, name in enumerate("one two three four five six seven eight nine".split(), start=1)}
_PAIRS = (("a", "pair", "of"), ("a", "couple", "of"), ("pair", "of"), ("couple", "of"))
_ARTICLES = ("a", "an", "the")
_BIG, _SMALL = 1.4, 0.6
_SCALES: dict[str, float] = {
    **dict.fromkeys(("big", "large", "huge", "giant"), _BIG),
    **dict.fromkeys(("small", "little", "tiny"), _SMALL),
}
_JOINERS = (
    *("and", "&", "+", "with", "plus", "near", "beside", "alongside", "next to", "as well as", "together with"),
    ",",
)
_SYNTAX = re.compile(r"[\[\]{}|\\<>]|\b(?:AND|BREAK)\b|\bembedding:")  # of prompts that are more than plain words
_TOKEN = re.compile(r":\s*[-+]?[\d.]+|[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+(?:-?[^\W\d_]+)*|\S")  # "3d" is no number
_MOST_WORDS = 6  # before a name: a number, a size, a colour, what it is like
_UNCLEAR = frozenset(  # before a name: how many there are is not said, more than there is room for, or none
    "no not zero without neither all any both each every many several some few more pairs couples ten eleven twelve "
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
    "ninety dozen dozens hundred hundreds thousand thousands million millions x × - −".split()
)
_PRAISE = frozenset(  # before a name: asks for nothing that could be missed in the image
    "adorable amazing awesome beautiful best cool cute detailed excellent fantastic gorgeous great high highly lovely "
    "masterpiece most nice perfect pretty quality quite really stunning super ultra very wonderful".split()
)
_MOST_UNKNOWN = 2  # words of one thing: more are rather a sentence, as "a girl who likes cats"
_BRACKETS = "():"  # and weights
_PUNCTUATION = f"{_BRACKETS}.!?"  # leaves the words around it as they are
_DEEPEST = 20  # brackets around each other: more say nothing that a weight would not, and would take long to drop
_EMPTY_BRACKETS = re.compile(r"\(\s*(?::\s*[-+]?[\d.]+\s*)?\)")
_IRREGULAR = {
    "mouse": "mice",
    "goose": "geese",
    "tooth": "teeth",
    "foot": "feet",
    "wolf": "wolves",
    "leaf": "leaves",
    "knife": "knives",
    "loaf": "loaves",
    "scarf": "scarves",
    "snowman": "snowmen",
    "cactus": "cacti",
    "octopus": "octopi",
    "dice": "dice",
    "sheep": "sheep",
    "fish": "fish",
    "deer": "deer",
}


class Arrangement(StrEnum):
    """How things stand in an image: as there is room, beside each other, or above each other."""

    FREE = "free"
    ROW = "row"
    COLUMN = "column"


@dataclass(frozen=True)
class Thing:
    """One thing of a scene: its own prompt, how large it is beside the others, its name, and its prompt without the
    words for the ground that it stands on."""

    prompt: str
    scale: float = 1.0
    name: str = ""
    bare_prompt: str = ""


@dataclass(frozen=True)
class Scene:
    """The things of an image, from left to right and from top to bottom, in groups that stay together; `place` is where
    they are, in the words of the vocabulary ("in the sea"), "" where nothing is said of that."""

    groups: tuple[tuple[Thing, ...], ...]
    arrangement: Arrangement = Arrangement.FREE
    place: str = ""

    @property
    def things(self) -> tuple[Thing, ...]:
        """All of them in their order."""
        return tuple(thing for group in self.groups for thing in group)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What a model knows: the names of things, the words for places, each with the words for the ground that stands for
    it ("in the sea": "on a blue background"), and the other words that it was taught, as those for colours; none where
    that is not said. Equal to itself alone, so that scenes are kept by it."""

    names: frozenset[str]
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    words: frozenset[str] = frozenset()

    @functools.cached_property
    def phrases(self) -> Mapping[tuple[str, ...], _Item]:
        """Everything that is known, by its words in lower case."""
        return _build_phrases(self)


@functools.lru_cache(maxsize=256)  # the cells of a grid, and each look at a request, read the same prompt
def read_scene(prompt: str, vocabulary: Vocabulary) -> Scene | None:
    """The scene that `prompt` asks for; None where it has no more than one thing and no place, more than MAX_THINGS, or
    anything that is not understood."""
    if len(prompt) > _MAX_CHARS or _SYNTAX.search(prompt):
        return None
    try:
        return _Reader(" ".join(prompt.split()), vocabulary).read()
    except _NotUnderstoodError:
        return None


def names_anything(prompt: str, vocabulary: Vocabulary) -> bool:
    """Whether any name that is known stands in `prompt`, in the singular or the plural."""
    words = [match.group().lower() for match in _TOKEN.finditer(prompt[:_MAX_CHARS])]
    names = _list_names(vocabulary)
    return any(tuple(words[at : at + n]) in names for n in set(map(len, names)) for at in range(len(words)))


def find_unknown_words(prompt: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The words between an article or a number and a known name ("quantum" of "a quantum computer") that stand in
    nothing that the model was taught, each once in lower case. Without an article none are found, since "une orange"
    is no English; nor in prompts that are more than plain words, or where `vocabulary` does not say all its words."""
    if not vocabulary.words or len(prompt) > _MAX_CHARS or _SYNTAX.search(prompt):
        return ()
    names = _list_names(vocabulary)
    lengths = sorted(set(map(len, names)), reverse=True)
    taught = {word for words in names for word in words} | vocabulary.words
    between = {word for words in vocabulary.phrases.keys() - names for word in words}
    words = [text for match in _TOKEN.finditer(prompt.lower()) if not _is_weight(text := match.group())]
    found: list[str] = []
    before: list[str] | None = None  # the unknown words since an article or a number, None where there was none
    at = 0
    while at < len(words):
        word, length = words[at], next((n for n in lengths if tuple(words[at : at + n]) in names), 0)
        if length:
            found += before if before and len(before) <= _MOST_UNKNOWN else ()
            before = None
        elif _begins_thing(word):
            before = []
        elif word in between or not word[0].isalnum():
            before = None
        elif before is not None and not (word in taught or word in _SCALES or word in _PRAISE or word in _UNCLEAR):
            before.append(word)
        at += length or 1
    return tuple(dict.fromkeys(found))


def _list_names(vocabulary: Vocabulary) -> frozenset[tuple[str, ...]]:
    return frozenset(words for words, item in vocabulary.phrases.items() if item.kind is _Kind.NAME)


def _is_weight(token: str) -> bool:
    """Whether it is a bracket, or what is said of one: ":1.2"."""
    return token in ("(", ")") or (token[0] == ":" and len(token) > 1)


class _NotUnderstoodError(Exception):
    """The prompt goes on as it is."""


class _Side(StrEnum):
    LEFT = "left"
    RIGHT = "right"
    TOP = "top"
    BOTTOM = "bottom"


_RELATIONS: dict[str, _Side] = {  # of what stands before the words, to what stands after them
    **dict.fromkeys(("left of", "to the left of", "on the left of"), _Side.LEFT),
    **dict.fromkeys(("right of", "to the right of", "on the right of"), _Side.RIGHT),
    **dict.fromkeys(("above", "over", "on top of"), _Side.TOP),
    **dict.fromkeys(("below", "under", "underneath", "beneath"), _Side.BOTTOM),
}
_SIDES = {
    **dict.fromkeys(("on the left", "at the left", "on the left side"), _Side.LEFT),
    **dict.fromkeys(("on the right", "at the right", "on the right side"), _Side.RIGHT),
    **dict.fromkeys(("at the top", "on the top"), _Side.TOP),
    **dict.fromkeys(("at the bottom", "on the bottom"), _Side.BOTTOM),
}


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    end: int
    depth: int


class _Kind(StrEnum):
    NAME = "name"
    JOINER = "joiner"
    COMMA = "comma"
    RELATION = "relation"
    SIDE = "side"
    PLACE = "place"
    GROUND = "ground"
    WORD = "word"


_GROUNDS = (_Kind.PLACE, _Kind.GROUND)  # the words for one may stand in a prompt themselves


@dataclass(frozen=True)
class _Item:
    """Some tokens that belong together. `value` is the singular of a name in the plural, the words for a ground, or a
    side; `place` the vocabulary's words for a place."""

    kind: _Kind
    start: int
    end: int
    value: str = ""
    is_plural: bool = False
    place: str = ""


@dataclass
class _Group:
    """What is said of one kind of thing: the items before its name, its name, and the side where it is to stand."""

    before: list[_Item] = field(default_factory=list[_Item])
    name: _Item | None = None
    side: _Side | None = None
    start: int = 0
    end: int = 0


class _Reader:
    def __init__(self, prompt: str, vocabulary: Vocabulary) -> None:
        self._prompt = prompt
        self._tokens = _split_tokens(prompt)
        self._words = [token.text.lower() for token in self._tokens]
        self._phrases = vocabulary.phrases
        self._longest = max((len(words) for words in self._phrases), default=1)

    def read(self) -> Scene | None:
        items = self._find_items()
        grounds = {item.value for item in items if item.kind in _GROUNDS}
        if len(grounds) > 1:
            raise _NotUnderstoodError
        groups, extras, relations = self._read_segments(items)
        if not groups:
            return None
        ground = "".join(f" {words}" for words in grounds)
        tail = "".join(f", {text}" for text in extras)
        made = [(group, self._build_things(group, (ground, tail), alone=len(groups) == 1)) for group in groups]
        count = sum(len(things) for _, things in made)
        place = next((item.place for item in items if item.kind is _Kind.PLACE), "")
        if count > MAX_THINGS or (count == 1 and not place):
            return None
        return replace(_arrange(made, relations), place=place)

    def _find_items(self) -> list[_Item]:
        """The prompt from left to right, at each place the longest phrase that is known."""
        items: list[_Item] = []
        at = 0
        while at < len(self._tokens):
            item = self._match_ground(at) or self._match_phrase(at) or _Item(_Kind.WORD, at, at + 1)
            if item.kind not in (_Kind.WORD, _Kind.NAME) and self._tokens[at].depth:
                raise _NotUnderstoodError  # several things share one weight
            if not (item.kind is _Kind.WORD and self._words[at][0] in _PUNCTUATION):
                items.append(item)
            at = item.end
        return items

    def _match_ground(self, at: int) -> _Item | None:
        """ "on a blue background", taken as it is."""
        words = self._words[at : at + 6]
        if len(words) < 3 or words[0] not in ("on", "against", "with") or "background" not in words:
            return None
        end = at + words.index("background") + 1
        if any(word in (*_JOINERS, "on", "against") for word in self._words[at + 1 : end]):
            return None
        return _Item(_Kind.GROUND, at, end, self._slice(at, end))

    def _match_phrase(self, at: int) -> _Item | None:
        for length in range(min(self._longest, len(self._words) - at), 0, -1):
            found = self._phrases.get(tuple(self._words[at : at + length]))
            if found is not None:
                return replace(found, start=at, end=at + length)
        return None

    def _read_segments(self, items: list[_Item]) -> tuple[list[_Group], list[str], list[_Side | None]]:
        """The groups, the texts between commas that name nothing, and how each group stands to the one before it."""
        groups: list[_Group] = []
        extras: list[str] = []
        relations: list[_Side | None] = []
        for segment in _split_at_commas(items):
            if not any(item.kind is _Kind.NAME for item in segment):
                words = [item for item in segment if item.kind not in _GROUNDS]
                if words and _begins_thing(self._words[words[0].start]):
                    raise _NotUnderstoodError  # a thing that is not known
                if words:
                    extras.append(self._slice(words[0].start, words[-1].end))
                continue
            found, between = self._read_groups(segment)
            relations += [None, *between] if groups else between
            groups += found
        return groups, extras, relations

    def _read_groups(self, segment: list[_Item]) -> tuple[list[_Group], list[_Side | None]]:
        groups, relations = [_Group()], list[_Side | None]()
        for item in segment:
            group = groups[-1]
            if item.kind in (_Kind.JOINER, _Kind.RELATION):
                if group.name is None and (group.before or len(groups) > 1 or item.kind is _Kind.RELATION):
                    raise _NotUnderstoodError
                if group.name is not None:  # else "and" behind a comma
                    relations.append(_Side(item.value) if item.value else None)
                    groups.append(_Group())
                continue
            if group.name is not None and item.kind is _Kind.WORD and _begins_thing(self._words[item.start]):
                relations.append(None)  # "2 cats 2 dogs"
                groups.append(_Group())
            between = self._words[groups[-1].end : item.start]
            _add_item(groups[-1], item, is_next=all(word[0] in _BRACKETS for word in between))
        if groups[-1].name is None:
            raise _NotUnderstoodError
        return groups, relations

    def _build_things(self, group: _Group, tails: tuple[str, str], *, alone: bool) -> tuple[Thing, ...]:
        """The things of one group: as many as it says, without the words for number and size; `tails` are the ground
        and what holds for all."""
        name = group.name
        assert name is not None
        count, skipped = self._read_count(group)
        if count > MAX_THINGS:
            raise _NotUnderstoodError
        scale = 1.0
        changes: dict[int, str] = dict.fromkeys(skipped, "")
        if count > 1 or not alone:
            for item in group.before:
                factor = _SCALES.get(self._words[item.start])
                if factor is not None:
                    scale, changes[item.start] = factor, ""
        if name.value and (name.is_plural or count > 1):
            changes |= {name.start: name.value} | dict.fromkeys(range(name.start + 1, name.end), "")
        known = name.value or " ".join(self._words[name.start : name.end])
        begin = skipped[0] if skipped else self._find_lead_end(group)
        if count > 1 or skipped:
            self._put_article(group, changes, begin, known)
        elif scale != 1 and self._words[begin] in ("a", "an"):  # "a orange cat", without its size
            changes[begin] = _choose_article(self._find_kept_word(group, changes, begin + 1))
        text = self._rewrite(group, changes)
        return (Thing(text + "".join(tails), scale, known, text + tails[1]),) * count

    def _read_count(self, group: _Group) -> tuple[int, list[int]]:
        """How many there are, and the numbers of the tokens that say so."""
        name = group.name
        assert name is not None
        words = tuple(self._words[item.start] for item in group.before)
        places = [item.start for item in group.before]
        if _UNCLEAR.intersection(words):
            raise _NotUnderstoodError
        for phrase in _PAIRS:
            if words[: len(phrase)] == phrase:
                _check_counted_once(words[len(phrase) :])
                is_one = "pair" in phrase and not name.value and self._words[name.end - 1].endswith("s")
                return 1 if is_one else 2, places[: len(phrase)]  # a pair of scissors is one thing
        _check_counted_once(words, most=1)
        if "of" in words and not _is_image_lead(words):
            raise _NotUnderstoodError
        lead = self._find_lead_end(group)
        for place, word in zip(places, words, strict=True):
            number = _read_number(word)
            if number is not None:
                articles = [where for where in places if lead <= where < place and self._words[where] in _ARTICLES]
                return number, [*articles, place]
        return (2 if name.is_plural else 1), []

    def _find_lead_end(self, group: _Group) -> int:
        """The number of the token that the thing itself begins with, behind "a drawing of"."""
        return next((item.end for item in group.before if self._words[item.start] == "of"), group.start)

    def _put_article(self, group: _Group, changes: dict[int, str], begin: int, name: str) -> None:
        """Put "a" or "an" before what is left of the group from token `begin` on, outside of brackets that hold a part
        of it alone; not before names such as "scissors"."""
        first = self._find_kept_word(group, changes, begin)
        if first in _ARTICLES or (name.endswith("s") and not name.endswith(("ss", "us", "os"))):
            return
        depth = min(token.depth for token in self._tokens[begin : group.end])
        place = begin
        while place and self._words[place - 1] == "(" and self._tokens[place - 1].depth > depth:
            place -= 1
        changes[place] = f"{_choose_article(first)} {changes.get(place, self._tokens[place].text)}"

    def _find_kept_word(self, group: _Group, changes: Mapping[int, str], begin: int) -> str:
        """The first word of the group from token `begin` on that `changes` leave there, in lower case."""
        texts = (changes.get(number, self._tokens[number].text) for number in range(begin, group.end))
        return next((text.lower() for text in texts if text[:1].isalnum()), "")

    def _rewrite(self, group: _Group, changes: Mapping[int, str]) -> str:
        """The group's own words, with those of `changes` in place of some tokens. Brackets and weights stay."""
        begin, end = self._find_begin(group.start), self._find_end(group.end)
        parts, at = list[str](), self._tokens[begin].start
        for number in range(begin, group.end):
            token = self._tokens[number]
            parts += [self._prompt[at : token.start], changes.get(number, token.text)]
            at = token.end
        text = _drop_empty_brackets("".join([*parts, self._prompt[at:end]]))
        if text.count("(") != text.count(")"):
            raise _NotUnderstoodError
        return re.sub(r"(?<=\() | (?=[:)])", "", " ".join(text.split()))

    def _find_begin(self, number: int) -> int:
        """The number of the token that the brackets before token `number` begin with."""
        while number and self._words[number - 1] == "(":
            number -= 1
        return number

    def _find_end(self, number: int) -> int:
        """Where the weight and the brackets behind token `number` - 1 end in the prompt."""
        end = self._tokens[number - 1].end
        while number < len(self._tokens) and self._words[number][0] in "):":
            end, number = self._tokens[number].end, number + 1
        return end

    def _slice(self, start: int, end: int) -> str:
        return self._prompt[self._tokens[self._find_begin(start)].start : self._find_end(end)].strip()


def _split_tokens(prompt: str) -> list[_Token]:
    tokens: list[_Token] = []
    depth = 0
    for match in _TOKEN.finditer(prompt):
        text = match.group()
        depth += text == "("
        if depth > _DEEPEST:
            raise _NotUnderstoodError
        tokens.append(_Token(text, match.start(), match.end(), depth))
        depth -= text == ")"
        if depth < 0:
            raise _NotUnderstoodError
    if depth:
        raise _NotUnderstoodError
    return tokens


def _read_number(word: str) -> int | None:
    digits = word.removesuffix("x")
    return _NUMBERS.get(word, int(digits[:3]) if digits.isdecimal() else None)


def _begins_thing(word: str) -> bool:
    """Whether a thing is named after that word, be it known or not."""
    return word in _ARTICLES or _read_number(word) is not None


def _check_counted_once(words: Sequence[str], most: int = 0) -> None:
    """Raises _NotUnderstoodError where more than `most` of `words` are numbers, or one is 0."""
    numbers = [number for word in words if (number := _read_number(word)) is not None]
    if len(numbers) > most or 0 in numbers:
        raise _NotUnderstoodError


def _drop_empty_brackets(text: str) -> str:
    """Without the brackets and weights that a word left behind: "(:1.2) apple" as "apple"."""
    while (shorter := _EMPTY_BRACKETS.sub("", text)) != text:
        text = shorter
    return text


def _split_phrase(text: str) -> tuple[str, ...]:
    return tuple(token.text.lower() for token in _split_tokens(text))


def _build_phrases(vocabulary: Vocabulary) -> dict[tuple[str, ...], _Item]:
    """Everything that is known, by its words; a name in the plural only where that is no name by itself."""
    phrases = {_split_phrase(text): _Item(_Kind.JOINER, 0, 0) for text in _JOINERS}
    phrases |= dict.fromkeys(((",",), (";",)), _Item(_Kind.COMMA, 0, 0))
    phrases |= {_split_phrase(text): _Item(_Kind.RELATION, 0, 0, side) for text, side in _RELATIONS.items()}
    phrases |= {_split_phrase(text): _Item(_Kind.SIDE, 0, 0, side) for text, side in _SIDES.items()}
    names = tuple(map(_split_phrase, vocabulary.names))
    singulars = {plural: " ".join(words) for words in names for plural in _list_plurals(words)}
    plurals = {words: _Item(_Kind.NAME, 0, 0, singular, is_plural=True) for words, singular in singulars.items()}
    known = {words: _Item(_Kind.NAME, 0, 0, singulars.get(words, "")) for words in names}
    for place, ground in vocabulary.places.items():
        for words in _vary_articles(_split_phrase(place)):
            phrases[words] = _Item(_Kind.PLACE, 0, 0, ground, place=place)
    return {**phrases, **plurals, **known}


def _vary_articles(words: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """ "on grass" also as "on the grass" and "on a grass"."""
    preposition, rest = words[:1], tuple(word for word in words[1:] if word not in _ARTICLES)
    yield words
    yield preposition + rest
    for article in _ARTICLES:
        yield (*preposition, article, *rest)


def _list_plurals(words: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """The plurals of a name that are written: of its last word, or of the one before "of", "with" and the like."""
    inner = ("of", "with", "from", "behind", "in", "out")
    head = next((number for number, word in enumerate(words) if word in inner), len(words)) - 1
    if head < 0:
        return
    for plural in _inflect(words[head]):
        yield (*words[:head], plural, *words[head + 1 :])


def _inflect(noun: str) -> Iterable[str]:
    """ "wolves" and "wolfs", "volcanos" and "volcanoes": what is seen, right or wrong."""
    if noun in _IRREGULAR:
        yield _IRREGULAR[noun]
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        yield noun[:-1] + "ies"
        return
    yield noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")
    if noun.endswith("o"):
        yield noun + "es"


def _split_at_commas(items: Sequence[_Item]) -> list[list[_Item]]:
    segments: list[list[_Item]] = [[]]
    for item in items:
        if item.kind is _Kind.COMMA:
            segments.append([])
        else:
            segments[-1].append(item)
    return segments


def _add_item(group: _Group, item: _Item, *, is_next: bool) -> None:
    """Add a word, a name, a side or a place to the group; nothing but the last two may follow the name, or another name
    that `is_next` to it."""
    if item.kind in _GROUNDS:
        if group.name is None and group.before:
            raise _NotUnderstoodError
        return
    if item.kind is _Kind.SIDE:
        if group.name is None:
            raise _NotUnderstoodError
        group.side = _Side(item.value)
        return
    if group.name is not None:
        if item.kind is not _Kind.NAME or not is_next or group.name.is_plural:
            raise _NotUnderstoodError
        group.before.append(group.name)  # "orange" of "orange cat"
        group.name = None
    if item.kind is _Kind.NAME:
        group.name = item
        group.start = group.before[0].start if group.before else item.start
        group.end = item.end
        return
    group.before.append(item)
    if len(group.before) > _MOST_WORDS:
        raise _NotUnderstoodError


def _is_image_lead(words: Sequence[str]) -> bool:
    """Whether they are "a drawing of a …"."""
    kinds = {"image", "picture", "photo", "drawing", "painting", "illustration", "icon"}
    return words[list(words).index("of") - 1] in kinds


def _choose_article(word: str) -> str:
    return "an" if word[:1] in "aeiou" and not word.startswith(("uni", "ufo")) else "a"


def _arrange(made: list[tuple[_Group, tuple[Thing, ...]]], relations: list[_Side | None]) -> Scene:
    """Put the groups where the words say.

    Raises:
        _NotUnderstoodError: one above another, and a third.
    """
    order = [0]
    for number, relation in enumerate(relations, start=1):
        before = relation in (_Side.RIGHT, _Side.BOTTOM)  # the second one stands before the first
        order.insert(order.index(number - 1) if before else order.index(number - 1) + 1, number)
    ranks = {_Side.LEFT: -1, _Side.TOP: -1, _Side.RIGHT: 1, _Side.BOTTOM: 1}
    order.sort(key=lambda number: ranks.get(side, 0) if (side := made[number][0].side) else 0)
    groups = tuple(made[number][1] for number in order)
    sides = {*relations, *(group.side for group, _ in made)} - {None}
    if not sides:
        return Scene(groups)
    if sides <= {_Side.LEFT, _Side.RIGHT}:
        return Scene(groups, Arrangement.ROW)
    if len(groups) != 2 or not sides <= {_Side.TOP, _Side.BOTTOM}:
        raise _NotUnderstoodError
    return Scene(groups, Arrangement.COLUMN)

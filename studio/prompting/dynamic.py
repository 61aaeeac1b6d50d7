"""Drawing from dynamic prompts: one prompt by its seed, how many there are, and any of them by its number.

Nothing here depends on a clock or on other draws, so the prompt of one seed is the same alone and among others.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from studio.core.errors import InvalidRequest
from studio.prompting.choices import draw_integer, draw_sample, draw_weighted, draw_weighted_sample, walk_order
from studio.prompting.dynamic_tree import (
    Choice,
    Node,
    Sequence,
    SetVariable,
    UseVariable,
    Wildcard,
    parse_template,
)
from studio.prompting.wildcards import WordLists

MAX_NODES = 200_000  # visited while one prompt is drawn
MAX_ALL_NODES = 2_000_000  # visited while the prompts of one request are drawn
MAX_PROMPT_CHARS = 20_000  # of a drawn prompt
MAX_COMBINATIONS = 10**18  # more are not counted
_MAX_NESTING = 60  # groups, wildcards and variables inside each other
_MAX_SUBSET_WORK = 200_000  # additions while the subsets of one group are counted

_Variables = dict[str, "str | Sequence"]


def expand_template(text: str, seed: int, lists: WordLists) -> str:
    """The prompt that `seed` draws from the template `text`; a text without choices comes out as it is.

    Raises:
        InvalidRequest: a template that cannot be read, a wildcard that contains itself, an unknown variable, or more
            than MAX_PROMPT_CHARS characters. NotFound: an unknown wildcard.
    """
    return expand_templates(text, [seed], lists)[0]


def expand_templates(text: str, seeds: Iterable[int], lists: WordLists) -> list[str]:
    """What `expand_template` gives for each of `seeds`; raises as it, and InvalidRequest where all of them together
    have more choices than can be drawn in a few seconds."""
    tree = parse_template(text)
    if tree in ((), (text,)):
        return [text for _ in seeds]
    drawn: list[str] = []
    nodes = 0
    for seed in seeds:
        drawing = _Drawing(lists, seed=seed)
        drawn.append(drawing.draw(tree, "", {}))
        nodes += drawing.nodes
        if nodes > MAX_ALL_NODES:
            raise InvalidRequest("The prompts have too many choices.", hint="Draw fewer prompts at once.")
    return drawn


def count_combinations(text: str, lists: WordLists) -> int:
    """How many prompts the template can give, those that read the same counted separately; at most MAX_COMBINATIONS.
    Raises as `expand_template`."""
    return min(_Combinations(lists).count(parse_template(text), {}), MAX_COMBINATIONS)


def get_combination(text: str, number: int, lists: WordLists) -> str:
    """Prompt number `number` of the template, counted from 0, the last place changing first; behind the last one it
    begins again. Raises as `expand_template`, and InvalidRequest where there are more than MAX_COMBINATIONS."""
    found = _Combinations(lists)
    tree = parse_template(text)
    total = found.count(tree, {})
    if total >= MAX_COMBINATIONS:
        raise InvalidRequest(
            "The prompt has too many combinations to number them.", hint="Draw at random, or use fewer choices."
        )
    return found.pick(tree, number % total, {}) if total else ""


def list_combinations(text: str, lists: WordLists, most: int) -> Iterator[str]:
    """The first `most` combinations, one at a time. Raises as `expand_template`."""
    found = _Combinations(lists)
    tree = parse_template(text)
    spent = 0
    for number in range(min(most, found.count(tree, {}))):
        spent += found.nodes
        if spent > MAX_ALL_NODES:
            raise InvalidRequest("The prompts have too many choices.", hint="Draw fewer prompts at once.")
        found.nodes = 0  # each of them may cost as much as one alone
        yield found.pick(tree, number, {})


@dataclass
class _Walk:
    """One way through a template, and what it has cost so far. `open` are the wildcards and variables that are being
    read, "" stands for a group."""

    lists: WordLists
    nodes: int = 0
    open: list[str] = field(default_factory=list[str])

    def visit(self) -> None:
        """Count one place more. Raises InvalidRequest behind the last that is allowed."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise InvalidRequest("The prompt has too many choices.", hint="Use fewer choices and wildcards.")

    @contextlib.contextmanager
    def enter(self, name: str = "") -> Generator[None]:
        """Read what stands inside a group, or the wildcard or variable `name`. Raises InvalidRequest when that
        contains itself, or is nested too deep."""
        if name and name in self.open:
            loop = " → ".join(filter(None, [*self.open[self.open.index(name) :], name]))
            raise InvalidRequest(
                f"{name} contains itself: {loop}.", hint="Take it out of its own values.", details={"name": name}
            )
        if len(self.open) >= _MAX_NESTING:
            raise InvalidRequest(
                "The wildcards of the prompt are nested too deep.", hint=f"At most {_MAX_NESTING} levels are read."
            )
        self.open.append(name)
        yield
        self.open.pop()


@dataclass
class _Drawing(_Walk):
    """One draw by a seed."""

    seed: int = 0
    characters: int = 0

    def draw(self, items: Sequence, path: str, variables: _Variables, name: str = "") -> str:
        with self.enter(name):
            return "".join([self._draw_node(node, path, variables) for node in items])

    def _draw_node(self, node: Node, path: str, variables: _Variables) -> str:
        self.visit()
        if isinstance(node, str):
            return self._add_text(node)
        place = f"{path}/{node.key}"
        if isinstance(node, Wildcard):
            return self._draw_wildcard(node, place, variables)
        if isinstance(node, Choice):
            return self._draw_choice(node, place, variables)
        if isinstance(node, SetVariable):
            variables[node.name] = self.draw(node.value, place, variables) if node.fixed else node.value
            return ""
        value = _get_value(node, variables)
        return (
            self._add_text(value)
            if isinstance(value, str)
            else self.draw(value, place, variables, _describe_variable(node.name))
        )

    def _draw_wildcard(self, node: Wildcard, place: str, variables: _Variables) -> str:
        found = self.lists.get(node.name)
        _check_values(found.values, node.name)
        if node.each_once:
            value = found.distinct[walk_order(place, len(found.distinct), self.seed)]
        elif found.cumulative is not None:
            value = found.values[draw_weighted(self.seed, place, found.cumulative)]
        else:
            value = found.values[draw_integer(self.seed, place, len(found.values))]
        return self._draw_value(value, node.name, place, variables)

    def _draw_value(self, value: str, name: str, place: str, variables: _Variables) -> str:
        """A line of a wildcard, which may be a template itself."""
        if not _has_syntax(value):
            return self._add_text(value)
        return self.draw(parse_template(value), f"{place}/{value}", variables, _describe_wildcard(name))

    def _draw_choice(self, node: Choice, place: str, variables: _Variables) -> str:
        if isinstance(wildcard := _get_only_wildcard(node), Wildcard):
            values = self.lists.get(wildcard.name).distinct
            _check_values(values, wildcard.name)
            return node.separator.join(
                self._draw_value(values[index], wildcard.name, f"{place}/{index}", variables)
                for index in self._pick_indices(node, place, len(values), ())
            )
        picked = self._pick_indices(node, place, len(node.options), node.weights)
        return node.separator.join(self.draw(node.options[index], f"{place}/{index}", variables) for index in picked)

    def _pick_indices(self, node: Choice, place: str, count: int, weights: tuple[float, ...]) -> list[int]:
        low, high = min(node.low, count), min(node.high, count)
        size = low + draw_integer(self.seed, f"{place}/count", high - low + 1)
        if node.each_once:
            return [walk_order(place, count, self.seed * high + k) for k in range(size)]
        if len(set(weights)) < 2:
            return draw_sample(self.seed, place, count, size)
        if size == 1 and sum(weights) > 0:
            return [draw_weighted(self.seed, place, list(itertools.accumulate(weights)))]
        return draw_weighted_sample(self.seed, place, weights, size)

    def _add_text(self, text: str) -> str:
        self.characters += len(text)
        if self.characters > MAX_PROMPT_CHARS:
            raise InvalidRequest(
                f"The drawn prompt is longer than {MAX_PROMPT_CHARS} characters.", hint="Shorten the wildcards."
            )
        return text


@dataclass
class _Combinations(_Walk):
    """Counts and numbers what a template can give; each wildcard is counted once."""

    counted: dict[str, tuple[list[int], int]] = field(default_factory=dict[str, "tuple[list[int], int]"])

    def count(self, items: Sequence, variables: _Variables, name: str = "") -> int:
        with self.enter(name):
            return math.prod([self._count_node(node, variables) for node in items])

    def pick(self, items: Sequence, number: int, variables: _Variables, name: str = "") -> str:
        """Combination `number` of `items`, below their count."""
        with self.enter(name):
            before = dict(variables)
            counts = [self._count_node(node, before) for node in items]
            numbers: list[int] = []
            for count in reversed(counts):
                number, own = divmod(number, count)
                numbers.append(own)
            pairs = zip(items, reversed(numbers), strict=True)
            drawn = "".join([self._pick_node(node, own, variables) for node, own in pairs])
        if len(drawn) > MAX_PROMPT_CHARS:
            raise InvalidRequest(
                f"The drawn prompt is longer than {MAX_PROMPT_CHARS} characters.", hint="Shorten the wildcards."
            )
        return drawn

    def _count_node(self, node: Node, variables: _Variables) -> int:
        self.visit()
        if isinstance(node, str):
            return 1
        if isinstance(node, Wildcard):
            return self._count_values(node.name, variables)[1]
        if isinstance(node, SetVariable):
            variables[node.name] = "" if node.fixed else node.value
            return self.count(node.value, variables) if node.fixed else 1
        if isinstance(node, UseVariable):
            value = _get_value(node, variables)
            return 1 if isinstance(value, str) else self.count(value, variables, _describe_variable(node.name))
        counts = self._count_options(node, variables)
        return sum(subsets for _, subsets in _count_subsets(counts, node.low, node.high))

    def _pick_node(self, node: Node, number: int, variables: _Variables) -> str:
        self.visit()
        if isinstance(node, str):
            return node
        if isinstance(node, Wildcard):
            return self._pick_value(node.name, number, variables)
        if isinstance(node, SetVariable):
            variables[node.name] = self.pick(node.value, number, variables) if node.fixed else node.value
            return ""
        if isinstance(node, UseVariable):
            value = _get_value(node, variables)
            return (
                value if isinstance(value, str) else self.pick(value, number, variables, _describe_variable(node.name))
            )
        return self._pick_subset(node, number, variables)

    def _pick_subset(self, node: Choice, number: int, variables: _Variables) -> str:
        counts = self._count_options(node, variables)
        size = node.low
        for each, subsets in _count_subsets(counts, node.low, node.high):
            size = each
            if number < subsets:
                break
            number -= subsets
        only = _get_only_wildcard(node)
        return node.separator.join(
            self._pick_line(self.lists.get(only.name).distinct[index], only.name, own, variables)
            if only is not None
            else self.pick(node.options[index], own, variables)
            for index, own in _unrank_subset(counts, size, number)
        )

    def _count_options(self, node: Choice, variables: _Variables) -> list[int]:
        """How many prompts each option can give; an option that is never drawn gives none."""
        only = _get_only_wildcard(node)
        if only is not None:
            values = self.lists.get(only.name).distinct
            _check_values(values, only.name)
            return [self._count_line(value, only.name, variables) for value in values]
        pairs = zip(node.options, node.weights, strict=True)
        return [self.count(option, variables) if weight > 0 else 0 for option, weight in pairs]

    def _count_values(self, name: str, variables: _Variables) -> tuple[list[int], int]:
        if name in self.counted:
            return self.counted[name]
        values = self.lists.get(name).values
        _check_values(values, name)
        counts = [self._count_line(value, name, variables) for value in values]
        found = (counts, sum(counts))
        if not any("${" in value for value in values):  # otherwise it depends on the variables
            self.counted[name] = found
        return found

    def _count_line(self, value: str, name: str, variables: _Variables) -> int:
        if not _has_syntax(value):
            return 1
        return self.count(parse_template(value), variables, _describe_wildcard(name))

    def _pick_value(self, name: str, number: int, variables: _Variables) -> str:
        values = self.lists.get(name).values
        counts, total = self._count_values(name, variables)
        if total == len(counts):
            return self._pick_line(values[number], name, 0, variables)
        for value, count in zip(values, counts, strict=True):
            if number < count:
                return self._pick_line(value, name, number, variables)
            number -= count
        return ""

    def _pick_line(self, value: str, name: str, number: int, variables: _Variables) -> str:
        if not _has_syntax(value):
            return value
        return self.pick(parse_template(value), number, variables, _describe_wildcard(name))


def _has_syntax(line: str) -> bool:
    return "{" in line or "__" in line or "\\" in line


def _describe_wildcard(name: str) -> str:
    return f"__{name}__"


def _describe_variable(name: str) -> str:
    return f"${{{name}}}"


def _check_values(values: tuple[str, ...], name: str) -> None:
    if not values:
        raise InvalidRequest(f"The wildcard “{name}” has no values.", hint="Add one value per line.")


def _get_value(node: UseVariable, variables: Mapping[str, str | Sequence]) -> str | Sequence:
    value = variables.get(node.name, node.default)
    if value is None:
        raise InvalidRequest(
            f"The variable “{node.name}” is not set.",
            hint=f"Write ${{{node.name}=value}} at the beginning, or ${{{node.name}:default}}.",
            details={"variable": node.name},
        )
    return value


def _get_only_wildcard(node: Choice) -> Wildcard | None:
    """The wildcard of a group such as `{2$$__name__}`, whose lines are its options."""
    only = node.options[0] if len(node.options) == 1 else ()
    return only[0] if len(only) == 1 and isinstance(only[0], Wildcard) else None


def _count_subsets(counts: list[int], low: int, high: int) -> list[tuple[int, int]]:
    """For each size from `low` to `high`, in how many ways so many of the options can be taken, each in one of its own
    `counts` ways. It ends early where there are more than MAX_COMBINATIONS."""
    low, high = min(low, len(counts)), min(high, len(counts))
    if high == 1:
        return [(size, sum(counts) if size else 1) for size in range(low, high + 1)]
    plain = set(counts) <= {1}
    if not plain and len(counts) * high > _MAX_SUBSET_WORK:
        return [(low, MAX_COMBINATIONS)]
    ways = [] if plain else _build_subset_table(counts, high)[0]
    found: list[tuple[int, int]] = []
    for size in range(low, high + 1):
        found.append((size, _count_plain_subsets(len(counts), size) if plain else ways[size]))
        if found[-1][1] >= MAX_COMBINATIONS:
            break
    return found


def _count_plain_subsets(count: int, size: int) -> int:
    smaller = min(size, count - size)
    return MAX_COMBINATIONS if smaller > 64 else math.comb(count, smaller)


def _build_subset_table(counts: list[int], size: int) -> list[list[int]]:
    """For each start, in how many ways 0 to `size` of the options from there on can be taken."""
    table = [[1] + [0] * size]
    for count in reversed(counts):
        last = table[-1]
        table.append([1] + [last[k] + count * last[k - 1] for k in range(1, size + 1)])
    return table[::-1]


def _unrank_subset(counts: list[int], size: int, number: int) -> list[tuple[int, int]]:
    """Subset `number` of that size: the indices of its options, and which of its own ways each takes."""
    table = [] if set(counts) <= {1} else _build_subset_table(counts, size)
    found: list[tuple[int, int]] = []
    index = 0
    while len(found) < size:
        left = size - len(found) - 1
        rest = table[index + 1][left] if table else math.comb(len(counts) - index - 1, left)
        if number < counts[index] * rest:
            own, number = divmod(number, rest)
            found.append((index, own))
        else:
            number -= counts[index] * rest
        index += 1
    return found

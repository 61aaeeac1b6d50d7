"""What one can filter by, with numbers, and completion of a query while it is typed."""

from __future__ import annotations

import collections
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studio.library.asset_rows import get_day
from studio.library.database import Database
from studio.library.index_text import fold_name
from studio.library.query import ASPECTS, KINDS, STATES, Field, Term, parse_query, split_terms
from studio.library.search import Search

FACETS = ("model", "lora", "tag", "source", "task", "day")
MAX_VALUES = 200  # of one facet
_SAMPLED = 5_000  # newest hits that are counted where a query is given
_MAX_OPTIONS = 12
_NAMED = (Field.MODEL, Field.LORA, Field.TAG, Field.SOURCE, Field.TASK)
_EXAMPLES = {
    Field.SEED: "seed:42",
    Field.RATING: "rating:>=3",
    Field.SIZE: "size:1024x1024",
    Field.DATE: "date:2026-11",
    Field.SINCE: "since:2026-11-01",
    Field.UNTIL: "until:2026-11-30",
    Field.MEANING: 'meaning:"a fortress at night"',
}
_FIXED = {Field.IS: STATES, Field.ASPECT: ASPECTS, Field.KIND: KINDS, Field.RATING: (">=1", ">=3", ">=4", "5", "0")}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to go on: `text` replaces what is there, `label` is shown, `count` is how many assets have it."""

    text: str
    label: str
    count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Options for the characters `start` to `end` of the text."""

    start: int
    end: int
    options: tuple[Option, ...] = ()


class Facets:
    """Counts the assets of one user at a time. Thread-safe."""

    def __init__(self, database: Database, search: Search) -> None:
        self._database = database
        self._search = search

    def count(self, text: str, user: str) -> Mapping[str, list[tuple[str, int]]]:
        """(value, number) of each facet, the most frequent first, days the latest first. With a query the newest 5,000
        hits are counted.

        Raises:
            InvalidRequest: the query cannot be read. TooSlow: it was stopped.
        """
        if parse_query(text).is_empty:
            with self._database.read() as connection:
                return {kind: self._list_values(connection, user, kind) for kind in FACETS}
        seqs: list[int] = []
        for chunk in self._search.iterate_all(text, user, size=_SAMPLED):
            seqs = chunk
            break
        with self._database.read() as connection:
            return _count_values(connection, seqs)

    def complete(self, text: str, position: int, user: str) -> Completion:
        """What the word at `position` (characters from the start of `text`) could become."""
        term = next((one for one in split_terms(text[:2000]) if one.start <= position <= one.end), None)
        if term is None:
            return Completion(start=position, end=position, options=_complete_field("", negated=False))
        if term.name in list(Field):
            begin = term.value_start
            options = self._complete_value(Field(term.name), term.value, user)
            return Completion(start=begin, end=term.end, options=options)
        return Completion(start=term.start, end=term.end, options=self._complete_word(term, user))

    def _list_values(self, connection: sqlite3.Connection, user: str, kind: str) -> list[tuple[str, int]]:
        order = "value DESC" if kind == "day" else "count DESC, value"
        limit = 10_000 if kind == "day" else MAX_VALUES
        rows = connection.execute(
            f"SELECT value, count FROM facets WHERE user = ? AND kind = ? AND count > 0 ORDER BY {order} LIMIT ?",
            (user, kind, limit),
        )
        return [(row["value"], row["count"]) for row in rows]

    def _complete_word(self, term: Term, user: str) -> tuple[Option, ...]:
        """Names of filters, then tags and models that begin with the word."""
        options = list(_complete_field(term.value, negated=term.negated))
        if len(term.value) >= 2:
            sign = "-" if term.negated else ""
            for name in (Field.TAG, Field.MODEL, Field.LORA):
                options += [
                    Option(text=f"{sign}{name}:{one.text}", label=f"{name}: {one.label}", count=one.count)
                    for one in self._complete_value(name, term.value, user)
                ]
        return tuple(options[:_MAX_OPTIONS])

    def _complete_value(self, name: Field, typed: str, user: str) -> tuple[Option, ...]:
        if name in _FIXED:
            return tuple(Option(text=one, label=one) for one in _FIXED[name] if one.startswith(typed.lower()))
        fold = fold_name(typed)
        with self._database.read() as connection:
            if name is Field.COLLECTION:
                rows = connection.execute(
                    "SELECT name AS value, NULL AS count FROM collections WHERE user = ? AND query IS NULL AND"
                    " instr(fold, ?) ORDER BY instr(fold, ?), fold LIMIT ?",
                    (user, fold, fold, _MAX_OPTIONS),
                ).fetchall()
            elif name in _NAMED:
                rows = connection.execute(
                    "SELECT value, count FROM facets WHERE user = ? AND kind = ? AND count > 0"
                    " AND instr(lower(value), ?) ORDER BY instr(lower(value), ?) = 1 DESC, count DESC LIMIT ?",
                    (user, name.value, fold, fold, _MAX_OPTIONS),
                ).fetchall()
            else:
                rows = []
        return tuple(Option(text=_quote(row["value"]), label=row["value"], count=row["count"]) for row in rows)


def _complete_field(typed: str, *, negated: bool) -> tuple[Option, ...]:
    sign = "-" if negated else ""
    return tuple(
        Option(text=f"{sign}{name}:", label=_EXAMPLES.get(name, f"{name}:"))
        for name in Field
        if name.startswith(typed.lower()) and not (negated and name is Field.MEANING)
    )


def _quote(value: str) -> str:
    return f'"{value}"' if any(char.isspace() for char in value) else value


def _count_values(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[str, list[tuple[str, int]]]:
    numbers = json.dumps(list(seqs))
    counted = {kind: collections.Counter[str]() for kind in FACETS}
    for row in connection.execute(
        "SELECT model, task, source, created FROM json_each(?) JOIN assets ON seq = value", (numbers,)
    ):
        for kind in ("model", "task", "source"):
            counted[kind][row[kind]] += 1
        counted["day"][get_day(row["created"])] += 1
    for kind, sql in (
        ("lora", "SELECT name FROM json_each(?) JOIN asset_loras ON seq = value"),
        ("tag", "SELECT name FROM json_each(?) JOIN asset_tags ON seq = value JOIN tags ON tags.id = tag"),
    ):
        counted[kind].update(row["name"] for row in connection.execute(sql, (numbers,)))
    return {
        kind: sorted(found.items(), reverse=True) if kind == "day" else found.most_common(MAX_VALUES)
        for kind, found in ((kind, _drop_empty(found)) for kind, found in counted.items())
    }


def _drop_empty(found: collections.Counter[str]) -> collections.Counter[str]:
    del found[""]
    return found

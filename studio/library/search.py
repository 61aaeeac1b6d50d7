"""Finding assets: a query becomes one MATCH over the full-text index, plus what may be different every minute.

Words, and every filter that seldom changes, are words of the index, so that any mixture of them is met by merging lists
that are in the order of time already. Favourites, ratings, uses and collections change often and are looked up in their
own tables: few of them are looked up one by one, many are walked through with the index.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from studio.core.errors import InvalidRequest, TooSlow
from studio.library.asset_rows import get_first_seq, get_owner_key
from studio.library.database import Database
from studio.library.entries import find_seq
from studio.library.index_text import fold_name, make_key, quote_phrase
from studio.library.meaning import Meaning
from studio.library.query import MAX_TERMS, Field, Filter, Order, Query, Word, parse_query
from studio.library.schema import DONE, TRASHED

MAX_PAGE = 500
_FEW = 20_000  # assets that are kept as a set to look others up in
_PROBED = 150  # assets that are looked up in the index one by one
_RANKED = 2_000  # newest hits that are ordered by how well they fit
_WALKED = 10_000  # hits of the index that are walked through for a number where each has to be looked up
_COUNT_SECONDS = 0.05  # that counting may take before it gives way to an estimate
_MAX_VALUES = 200  # models (or others) whose names contain what was typed
_REMEMBER_SECONDS = 5.0  # that a number of hits is remembered: other processes may save images
_MAX_REMEMBERED = 256
_WORD = re.compile(r"\w+")
_MAX_LIKE_WORDS = 40
_MAX_DEPTH = 3  # saved searches that name one another
_EVERYWHERE = "{prompt negative title note tags name}"
_NOT_NEGATIVE = "{prompt title note tags name}"  # what a negative prompt keeps out is not in the image anyway
_WEIGHTS = "10.0, 1.0, 8.0, 6.0, 10.0, 4.0, 0.0"  # of the columns prompt to keys
_MAX_SEQ = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True)
class Hits:
    """A page of row numbers in their order; `next` continues it, None at the end. `total` is how many there are in all,
    at least that many unless `exact`."""

    seqs: tuple[int, ...]
    next: str | None
    total: int
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A query as SQL, for the assets of `user` in that `state`. `match` is the MATCH expression, which asks for nothing
    but user and state unless `has_words`; `conditions` with `parameters` are about `assets`; `few` the row numbers that
    alone can fit, the greatest first, None when they are many. `scores` say by row number how well the
    meaning fits."""

    user: str
    state: str
    match: str
    has_words: bool
    conditions: tuple[str, ...] = ()
    parameters: tuple[object, ...] = ()
    low: int = 0
    high: int = _MAX_SEQ
    few: tuple[int, ...] | None = None
    scores: Mapping[int, float] = dataclasses.field(default_factory=dict[int, float])


class Search:
    """Searches the assets of one user at a time. Thread-safe."""

    def __init__(self, database: Database, meaning: Meaning) -> None:
        self._database = database
        self._meaning = meaning
        self._totals: dict[tuple[object, ...], tuple[int, float, int, bool]] = {}

    def find(
        self,
        text: str,
        user: str,
        *,
        limit: int = 50,
        cursor: str | None = None,
        order: Order = Order.NEWEST,
        trashed: bool = False,
    ) -> Hits:
        """One page of what fits `text`.

        Raises:
            InvalidRequest: `text` or `cursor` cannot be read. TooSlow: the search was stopped.
        """
        query = parse_query(text)
        with self._database.read() as connection:
            plan = self._build_plan(connection, query, user, trashed=trashed)
            seqs, following = _find_page(connection, plan, order, min(limit, MAX_PAGE), cursor)
            total, exact = self._count(connection, plan)
        if not exact:
            total = max(total, len(seqs))
        return Hits(seqs=tuple(seqs), next=following, total=total, exact=exact)

    def iterate_all(self, text: str, user: str, *, trashed: bool = False, size: int = 500) -> Iterator[list[int]]:
        """All row numbers that fit `text` in chunks of at most `size`, newest first. What arrives meanwhile is left
        out; raises as `find`."""
        query = parse_query(text)
        below = _MAX_SEQ
        while True:
            with self._database.read() as connection:
                plan = self._build_plan(connection, query, user, trashed=trashed)
                seqs = _find_by_time(connection, plan, size, below=below)
            if not seqs:
                return
            yield seqs
            below = seqs[-1]

    def find_similar(self, asset_id: str, user: str, limit: int) -> list[int]:
        """The user's shown assets whose prompt means nearly the same as that one's, the nearest first; where no model
        tells meanings, those that share most words.

        Raises:
            NotFound: there is none of that id, or it is another user's.
        """
        with self._database.read() as connection:
            seq = find_seq(connection, asset_id, user)
            scores = self._meaning.find_like(connection, seq, user, DONE)
            if scores:
                return sorted(scores, key=lambda one: (-scores[one], -one))[:limit]
            row = connection.execute("SELECT prompt FROM recipes WHERE seq = ?", (seq,)).fetchone()
            return [one for one in _find_by_any_word(connection, row["prompt"], user, limit + 1) if one != seq][:limit]

    def _build_plan(self, connection: sqlite3.Connection, query: Query, user: str, *, trashed: bool) -> Plan:
        """The plan with what the meaning of the query leaves."""
        query = _expand_saved(connection, query, user)
        plan = build_plan(connection, query, user, trashed=trashed)
        if not query.meaning:
            return plan
        scores = self._meaning.find(connection, query.meaning, plan.user, plan.state)
        few = scores.keys() if plan.few is None else scores.keys() & set(plan.few)
        return dataclasses.replace(plan, few=tuple(sorted(few, reverse=True)), scores=scores)

    def _count(self, connection: sqlite3.Connection, plan: Plan) -> tuple[int, bool]:
        if plan.few is not None and not _is_walked(plan):
            return len(_find_few(connection, plan)), True
        key = (plan.match, plan.few and hash(plan.few), plan.conditions, plan.parameters, plan.low, plan.high)
        revision, now = self._database.revision, time.monotonic()
        known = self._totals.get(key)
        if known is not None and known[0] == revision and known[1] > now - _REMEMBER_SECONDS:
            return known[2], known[3]
        try:
            with self._database.limit_time(connection, _COUNT_SECONDS):
                found = _count_hits(connection, plan)
        except TooSlow:
            found = (known[2] if known else 0, False)
        if len(self._totals) >= _MAX_REMEMBERED:
            self._totals.clear()
        total, exact = found
        self._totals[key] = (revision, now, total, exact)
        return found


def build_plan(connection: sqlite3.Connection, query: Query, user: str, *, trashed: bool = False) -> Plan:
    """The query as SQL for the assets of `user`: those that are shown, or those in the trash."""
    trashed = trashed or any(one.field is Field.IS and one.value == "trashed" for one in query.filters)
    wanted, unwanted = [f'keys : "{get_owner_key(user, trashed=trashed)}"'], list[str]()
    for word in query.words:
        expression = _match_word(word)
        if expression:
            (unwanted if word.negated else wanted).append(expression)
    conditions, parameters = list[str](), list[object]()
    state = TRASHED if trashed else DONE
    low, high = 0, _MAX_SEQ
    few: list[set[int]] = []
    for one in query.filters:
        if one.field in (Field.DATE, Field.SINCE, Field.UNTIL) and not one.negated:
            begin, end = _get_period(one)
            low, high = max(low, begin), min(high, end)
        elif one.field in _KEYED or (one.field is Field.IS and one.value in ("made", "imported")):
            (unwanted if one.negated else wanted).append(_match_filter(connection, one, user))
        elif not (one.field is Field.IS and one.value == "trashed"):
            condition, values, known = _make_condition(connection, one, user, state)
            if known is not None and not one.negated:
                few.append(known)
                continue
            conditions.append(f"NOT ({condition})" if one.negated else condition)
            parameters.extend(values)
    match = " AND ".join(wanted)
    if unwanted:
        match = f"({match}) NOT ({' OR '.join(unwanted)})"
    return Plan(
        user=user,
        state=state,
        match=match,
        has_words=len(wanted) > 1 or bool(unwanted),
        conditions=tuple(conditions),
        parameters=tuple(parameters),
        low=low,
        high=high,
        few=tuple(sorted(set.intersection(*few), reverse=True)) if few else None,
    )


def _expand_saved(connection: sqlite3.Connection, query: Query, user: str) -> Query:
    """`query` with the saved searches that it names in place of their names.

    Raises:
        InvalidRequest: they name each other too deep, they are more than one search may ask for, or one is to be left
            out, which cannot be said in one search.
    """
    words, filters, meanings = list(query.words), list[Filter](), [query.meaning]
    waiting = deque((one, 0) for one in query.filters)
    while waiting:
        one, depth = waiting.popleft()
        found = find_collection(connection, one.value, user) if one.field is Field.COLLECTION else None
        if found is None or found["query"] is None:
            filters.append(one)
            continue
        if one.negated or depth >= _MAX_DEPTH:
            raise InvalidRequest(
                f"The saved search “{found['name']}” cannot be used here.",
                hint="Leave it out, or write its words and filters instead.",
            )
        inner = parse_query(found["query"])
        words += inner.words
        meanings.append(inner.meaning)
        waiting.extend((each, depth + 1) for each in inner.filters)
        if len(words) + len(filters) + len(waiting) > MAX_TERMS:
            raise InvalidRequest(
                f"These saved searches have more than {MAX_TERMS} words together.", hint="Leave some of them out."
            )
    return Query(words=tuple(words), filters=tuple(filters), meaning=" ".join(filter(None, meanings)))


def find_collection(connection: sqlite3.Connection, name: str, user: str) -> sqlite3.Row | None:
    """The user's collection of that name or id."""
    return connection.execute(
        "SELECT id, name, query FROM collections WHERE user = ? AND (fold = ? OR id = ?)", (user, fold_name(name), name)
    ).fetchone()


def _match_word(word: Word) -> str:
    phrase = quote_phrase(word.text, prefix=word.prefix)
    return f"{_NOT_NEGATIVE if word.negated else _EVERYWHERE} : ({phrase})" if phrase else ""


def _match_filter(connection: sqlite3.Connection, one: Filter, user: str) -> str:
    """A filter whose values stand in the index as keys. A model, LoRA, task or source is found by a part of its
    name."""
    values = [one.value]
    kind = one.field.value
    if one.field in (Field.MODEL, Field.LORA, Field.TASK, Field.SOURCE):
        rows = connection.execute(
            "SELECT value FROM facets WHERE user = ? AND kind = ? AND instr(lower(value), lower(?)) LIMIT ?",
            (user, kind, one.value, _MAX_VALUES),
        ).fetchall()
        values = [one.value, *(row["value"] for row in rows)]
    keys = dict.fromkeys(make_key(kind, fold_name(value) if kind == "tag" else value) for value in values)
    return "keys : (" + " OR ".join(f'"{key}"' for key in keys) + ")"


def _make_condition(
    connection: sqlite3.Connection, one: Filter, user: str, state: str
) -> tuple[str, list[object], set[int] | None]:
    """A filter as SQL over `assets`, its parameters, and the row numbers that fit where they are few."""
    if one.field is Field.COLLECTION:
        found = find_collection(connection, one.value, user)
        if found is None:
            return "0", [], set()
        name = found["id"]
        rows = connection.execute(
            "SELECT seq FROM collection_items CROSS JOIN assets USING (seq) WHERE collection = ? AND user = ? AND state"
            " = ? LIMIT ?",
            (name, user, state, _FEW + 1),
        ).fetchall()
        condition = "EXISTS (SELECT 1 FROM collection_items WHERE collection = ? AND seq = assets.seq)"
        return condition, [name], {row["seq"] for row in rows} if len(rows) <= _FEW else None
    if one.field is Field.RATING:
        sql, values, is_indexed = "rating BETWEEN ? AND ?", [one.low, one.high], one.low > 0
    elif one.field in (Field.DATE, Field.SINCE, Field.UNTIL):
        begin, end = _get_period(one)
        sql, values, is_indexed = "assets.seq >= ? AND assets.seq < ?", [begin, end], False
    elif one.value == "favourite":
        sql, values, is_indexed = "favourite = 1", [], True
    else:
        sql, values, is_indexed = "uses = 0", [], False
    known = None
    if is_indexed:
        indexed = f"{sql} AND rating > 0" if one.field is Field.RATING else sql
        known = _list_few(connection, f"user = ? AND state = ? AND {indexed}", (user, state, *values))
    return sql, list(values), known


def _list_few(connection: sqlite3.Connection, condition: str, parameters: Sequence[object]) -> set[int] | None:
    """The row numbers of the assets that fit, which an index gives alone; None when they are many."""
    from_where = f"SELECT seq FROM assets WHERE {condition}"
    if connection.execute(f"{from_where} LIMIT 1 OFFSET ?", (*parameters, _FEW)).fetchone() is not None:
        return None
    return {row["seq"] for row in connection.execute(from_where, parameters)}


def _get_period(one: Filter) -> tuple[int, int]:
    begin = 0 if one.field is Field.UNTIL else get_first_seq(one.low)
    end = _MAX_SEQ if one.field is Field.SINCE else get_first_seq(one.high)
    return begin, end


def _find_page(
    connection: sqlite3.Connection, plan: Plan, order: Order, limit: int, cursor: str | None
) -> tuple[list[int], str | None]:
    place = _read_cursor(cursor, order)
    if order is Order.RELEVANCE or (plan.scores and order is Order.NEWEST):
        seqs = _find_by_score(connection, plan) if plan.scores else _find_by_rank(connection, plan)
        begin = place[0] if place else 0
        page = seqs[begin : begin + limit]
        return page, f"{order}:{begin + limit}" if begin + limit < len(seqs) else None
    if order in (Order.RATING, Order.UNUSED):
        return _find_by_value(connection, plan, order, limit, place)
    ascending = order is Order.OLDEST
    begin, end = (place[0], _MAX_SEQ) if ascending and place else (-1, place[0] if place else _MAX_SEQ)
    seqs = _find_by_time(connection, plan, limit + 1, above=begin, below=end, ascending=ascending)
    return seqs[:limit], make_cursor(order, seqs[limit - 1]) if len(seqs) > limit else None


def make_cursor(order: Order, seq: int) -> str:
    """The cursor of the page after the asset of that row number, in an order by time."""
    return f"{order}:{seq}"


def _find_by_time(
    connection: sqlite3.Connection,
    plan: Plan,
    limit: int,
    *,
    above: int = -1,
    below: int = _MAX_SEQ,
    ascending: bool = False,
) -> list[int]:
    """Row numbers between the two bounds, which are left out."""
    if plan.few is not None and not _is_walked(plan):
        seqs = [seq for seq in _find_few(connection, plan) if above < seq < below]
        return (seqs[::-1] if ascending else seqs)[:limit]
    where, parameters = _make_where(plan)
    rows = connection.execute(
        f"SELECT words.rowid AS seq FROM {_make_tables(plan)} WHERE {where} AND words.rowid > ? AND words.rowid < ?"
        f" ORDER BY words.rowid {'ASC' if ascending else 'DESC'} LIMIT ?",
        (*parameters, max(above, plan.low - 1), min(below, plan.high), limit if plan.few is None else -1),
    )
    if plan.few is None:
        return [row["seq"] for row in rows]
    few = frozenset(plan.few)  # the hits are walked through as they come, so no more of them are read than needed
    return list(itertools.islice((row["seq"] for row in rows if row["seq"] in few), limit))


def _find_by_rank(connection: sqlite3.Connection, plan: Plan) -> list[int]:
    """The newest hits, the best first."""
    newest = _find_by_time(connection, plan, _RANKED)
    if not newest or (plan.few is not None and not _is_walked(plan)):
        return newest
    where, parameters = _make_where(plan)
    rows = connection.execute(
        f"SELECT words.rowid AS seq FROM {_make_tables(plan)} WHERE {where} AND words.rowid BETWEEN ? AND ?"
        f" ORDER BY bm25(words, {_WEIGHTS}), words.rowid DESC",
        (*parameters, newest[-1], newest[0]),
    )
    wanted = frozenset(newest)
    return [row["seq"] for row in rows if row["seq"] in wanted]


def _find_by_score(connection: sqlite3.Connection, plan: Plan) -> list[int]:
    """The hits whose meaning fits, the best first."""
    found = _find_by_time(connection, plan, _RANKED)
    return sorted(found, key=lambda seq: (-plan.scores[seq], -seq))


def _find_by_any_word(connection: sqlite3.Connection, prompt: str, user: str, limit: int) -> list[int]:
    """The assets with the most of the prompt's words, rare ones counting more; among the newest with one of them."""
    words = dict.fromkeys(word for word in _WORD.findall(prompt.casefold()) if len(word) > 2)
    phrases = [quote_phrase(word) for word in list(words)[:_MAX_LIKE_WORDS]]
    wanted = " OR ".join(f"({phrase})" for phrase in phrases if phrase)
    if not wanted:
        return []
    plan = Plan(
        user=user,
        state=DONE,
        match=f'keys : "{get_owner_key(user, trashed=False)}" AND {{prompt title}} : ({wanted})',
        has_words=True,
    )
    return _find_by_rank(connection, plan)[:limit]


def _find_by_value(
    connection: sqlite3.Connection, plan: Plan, order: Order, limit: int, place: tuple[int, ...] | None
) -> tuple[list[int], str | None]:
    """The best rated first, or the least used; the newest first among equals."""
    column = "rating" if order is Order.RATING else "uses"
    values = range(5, -1, -1) if order is Order.RATING else _list_use_counts(connection, plan)
    found: list[tuple[int, int]] = []
    for value in values:
        if place and (value > place[0] if order is Order.RATING else value < place[0]):
            continue
        narrowed = _narrow(connection, plan, column, value)
        below = place[1] if place and value == place[0] else _MAX_SEQ
        wanted = limit + 1 - len(found)
        found += [(value, seq) for seq in _find_by_time(connection, narrowed, wanted, below=below)]
        if len(found) > limit:
            last = found[limit - 1]
            return [seq for _, seq in found[:limit]], f"{order}:{last[0]}:{last[1]}"
    return [seq for _, seq in found], None


def _list_use_counts(connection: sqlite3.Connection, plan: Plan) -> list[int]:
    rows = connection.execute("SELECT DISTINCT uses FROM assets WHERE uses > 0 ORDER BY uses").fetchall()
    return [0, *(row["uses"] for row in rows)]


def _narrow(connection: sqlite3.Connection, plan: Plan, column: str, value: int) -> Plan:
    """The plan for those whose column has that value alone."""
    if value > 0:
        condition = f"user = ? AND state = ? AND {column} = ? AND {column} > 0"
        known = _list_few(connection, condition, (plan.user, plan.state, value))
        if known is not None:
            few = known if plan.few is None else known.intersection(plan.few)
            return dataclasses.replace(plan, few=tuple(sorted(few, reverse=True)))
    return dataclasses.replace(
        plan, conditions=(*plan.conditions, f"{column} = ?"), parameters=(*plan.parameters, value)
    )


def _find_few(connection: sqlite3.Connection, plan: Plan) -> list[int]:
    """Those of the few row numbers that fit the rest too, the greatest first."""
    if not plan.few:
        return []
    if not plan.has_words and not plan.conditions:
        return [seq for seq in plan.few if plan.low <= seq < plan.high]
    numbers = json.dumps(plan.few)
    if plan.has_words:
        where, parameters = " AND ".join(("words MATCH ?", *plan.conditions)), (plan.match, *plan.parameters)
        tables, column = "words ON words.rowid = json_each.value", "words.rowid"
        tables += " CROSS JOIN assets ON assets.seq = words.rowid" if plan.conditions else ""
    else:
        where, parameters = " AND ".join(plan.conditions), plan.parameters
        tables, column = "assets ON assets.seq = json_each.value", "assets.seq"
    rows = connection.execute(
        f"SELECT {column} AS seq FROM json_each(?) CROSS JOIN {tables}"
        f" WHERE {where} AND {column} >= ? AND {column} < ?",
        (numbers, *parameters, plan.low, plan.high),
    )
    return sorted((row["seq"] for row in rows), reverse=True)


def _is_walked(plan: Plan) -> bool:
    """Whether the index is walked through and its hits are looked up among the few, not the other way round."""
    return plan.has_words and plan.few is not None and len(plan.few) > _PROBED


def _count_hits(connection: sqlite3.Connection, plan: Plan) -> tuple[int, bool]:
    if not plan.conditions and plan.few is None:
        sql = "SELECT count(*) FROM words WHERE words MATCH ? AND rowid >= ? AND rowid < ?"
        return connection.execute(sql, (plan.match, plan.low, plan.high)).fetchone()[0], True
    last = connection.execute(
        "SELECT rowid FROM words WHERE words MATCH ? AND rowid >= ? AND rowid < ? ORDER BY rowid DESC LIMIT 1 OFFSET ?",
        (plan.match, plan.low, plan.high, _WALKED),
    ).fetchone()
    walked = plan if last is None else dataclasses.replace(plan, low=last[0])
    where, parameters = _make_where(walked)
    rows = connection.execute(
        f"SELECT words.rowid FROM {_make_tables(walked)} WHERE {where} AND words.rowid >= ? AND words.rowid < ?",
        (*parameters, walked.low, walked.high),
    )
    few = None if plan.few is None else frozenset(plan.few)
    return sum(few is None or row[0] in few for row in rows), last is None


def _make_tables(plan: Plan) -> str:
    return "words CROSS JOIN assets ON assets.seq = words.rowid" if plan.conditions else "words"


def _make_where(plan: Plan) -> tuple[str, tuple[object, ...]]:
    return " AND ".join(("words MATCH ?", *plan.conditions)), (plan.match, *plan.parameters)


def _read_cursor(cursor: str | None, order: Order) -> tuple[int, ...] | None:
    if not cursor:
        return None
    name, *parts = cursor.split(":")
    wanted = 2 if order in (Order.RATING, Order.UNUSED) else 1
    if name != order or len(parts) != wanted or not all(part.isascii() and part.isdigit() for part in parts):
        raise InvalidRequest("The cursor is not valid.", hint="Start again without one.", details={"field": "cursor"})
    return tuple(min(int(part[:19]), _MAX_SEQ) for part in parts)


_KEYED: Sequence[Field] = (
    Field.MODEL,
    Field.LORA,
    Field.TAG,
    Field.TASK,
    Field.SOURCE,
    Field.KIND,
    Field.SEED,
    Field.SIZE,
    Field.ASPECT,
)

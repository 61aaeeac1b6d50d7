"""A change of what users note of their assets (favourite, rating, title, note, tags, collections), and its undoing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.errors import InvalidRequest, NotFound
from studio.core.text_checks import check_name, check_text
from studio.library.asset_rows import change_count, write_words
from studio.library.index_text import fold_name
from studio.library.schema import DONE

MAX_TAG_LENGTH = 100  # characters
MAX_TAGS = 200  # of one asset
MAX_NOTE_LENGTH = 20_000
MAX_TITLE_LENGTH = 300
_COLUMNS = ("favourite", "rating", "title", "note")


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of assets; None and empty leave it. `tags` replaces all tags; `add_to` and `remove_from` are ids of
    collections; `trash` and `restore` move the files."""

    favourite: bool | None = None
    rating: int | None = None
    title: str | None = None
    note: str | None = None
    tags: tuple[str, ...] | None = None
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    add_to: str = ""
    remove_from: str = ""
    trash: bool = False
    restore: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be kept.

        Raises:
            InvalidRequest: a value out of its range, or `trash` beside `restore`.
        """
        if self.rating is not None and not 0 <= self.rating <= 5:
            raise InvalidRequest(f"A rating cannot be {self.rating}.", hint="Use 0 to 5.")
        for name, limit in (("title", MAX_TITLE_LENGTH), ("note", MAX_NOTE_LENGTH)):
            text = getattr(self, name) or ""
            if len(text) > limit:
                raise InvalidRequest(
                    f"The {name} has {len(text)} characters; the limit is {limit}.", hint="Shorten it."
                )
        check_name(self.title or "", "The title")
        check_text(self.note or "", "The note")
        if self.trash and self.restore:
            raise InvalidRequest("An asset cannot be trashed and restored at once.", hint="Choose one of them.")
        for name in ("tags", "add_tags", "remove_tags"):
            if getattr(self, name):
                object.__setattr__(self, name, clean_tags(getattr(self, name)))

    def to_json(self) -> dict[str, Any]:
        """Only what is changed, without the moving of files."""
        named = {name: getattr(self, name) for name in (*_COLUMNS, "tags")}
        found = {name: value for name, value in named.items() if value is not None}
        for name in ("add_tags", "remove_tags", "add_to", "remove_from"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return not (self.to_json() or self.trash or self.restore)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Change:
        """The inverse of `to_json`; raises InvalidRequest, TypeError for what is none."""
        lists = ("tags", "add_tags", "remove_tags")
        given: dict[str, Any] = {name: tuple(value) if name in lists else value for name, value in data.items()}
        return cls(**given)


def clean_tags(names: Iterable[str]) -> tuple[str, ...]:
    """Tags without surrounding and doubled spaces, each once whatever its case.

    Raises:
        InvalidRequest: an empty tag, one of more than 100 characters or with control characters; more than 200 tags.
    """
    found: dict[str, str] = {}
    for name in names:
        tag = " ".join(name.replace('"', "'").split())
        if not tag or len(tag) > MAX_TAG_LENGTH:
            raise InvalidRequest(
                f"A tag has {len(tag)} characters.", hint=f"Use 1 to {MAX_TAG_LENGTH} characters for a tag."
            )
        found.setdefault(fold_name(check_name(tag, "The tag")), tag)
    if len(found) > MAX_TAGS:
        raise InvalidRequest(f"These are {len(found)} tags; the limit is {MAX_TAGS}.", hint="Use fewer tags.")
    return tuple(found.values())


def apply_change(
    connection: sqlite3.Connection, seqs: Sequence[int], change: Change, user: str
) -> dict[int, dict[str, Any]]:
    """Change these assets of `user` inside the caller's transaction. Returns what each of them that is different now
    was before, for `undo_change`.

    Raises:
        NotFound: no such collection of the user. InvalidRequest: an asset would have too many tags.
    """
    before: dict[int, dict[str, Any]] = {seq: {} for seq in seqs}
    columns = {name: getattr(change, name) for name in _COLUMNS if getattr(change, name) is not None}
    if columns:
        _change_columns(connection, seqs, columns, before)
    if change.tags is not None or change.add_tags or change.remove_tags:
        _change_tags(connection, seqs, change, user, before)
    if change.add_to:
        _change_items(connection, seqs, _find_collection(connection, change.add_to, user), True, before)
    if change.remove_from:
        _change_items(connection, seqs, _find_collection(connection, change.remove_from, user), False, before)
    changed = {seq: was for seq, was in before.items() if was}
    for seq, was in changed.items():
        if was.keys() & {"title", "note", "tags"}:
            write_words(connection, seq)
    return changed


def undo_change(connection: sqlite3.Connection, seq: int, before: Mapping[str, Any], user: str) -> list[dict[str, Any]]:
    """Give an asset back what it had before, inside the caller's transaction; returns that as changes in JSON. What was
    deleted meanwhile, such as a collection, stays deleted."""
    columns = {name: before[name] for name in _COLUMNS if name in before}
    ignored: dict[int, dict[str, Any]] = {seq: {}}
    if columns:
        _change_columns(connection, [seq], columns, ignored)
    if "tags" in before:
        _change_tags(connection, [seq], Change(tags=tuple(before["tags"])), user, ignored)
    notes = {name: bool(value) if name == "favourite" else value for name, value in columns.items()}
    notes |= {"tags": before["tags"]} if "tags" in before else {}
    undone = [notes] if notes else []
    for collection, was_in in before.get("collections", {}).items():
        known = connection.execute("SELECT 1 FROM collections WHERE id = ? AND user = ?", (collection, user)).fetchone()
        if known:
            _change_items(connection, [seq], collection, was_in, ignored)
            undone.append({"add_to" if was_in else "remove_from": collection})
    write_words(connection, seq)
    return undone


def _change_columns(
    connection: sqlite3.Connection,
    seqs: Sequence[int],
    columns: Mapping[str, Any],
    before: dict[int, dict[str, Any]],
) -> None:
    rows = connection.execute(
        f"SELECT seq, {', '.join(columns)} FROM json_each(?) JOIN assets ON seq = value", (json.dumps(list(seqs)),)
    ).fetchall()
    for row in rows:
        was = {name: row[name] for name, value in columns.items() if row[name] != value}
        if was:
            before[row["seq"]].update(was)
            connection.execute(
                f"UPDATE assets SET {', '.join(f'{name} = ?' for name in was)} WHERE seq = ?",
                (*(columns[name] for name in was), row["seq"]),
            )


def _change_tags(
    connection: sqlite3.Connection,
    seqs: Sequence[int],
    change: Change,
    user: str,
    before: dict[int, dict[str, Any]],
) -> None:
    added = {fold_name(name): _find_tag(connection, name, user) for name in (*(change.tags or ()), *change.add_tags)}
    removed = {fold_name(name) for name in change.remove_tags}
    for seq in seqs:
        rows = connection.execute(
            "SELECT id, name, fold FROM asset_tags JOIN tags ON tags.id = tag WHERE seq = ? ORDER BY name",
            (seq,),
        ).fetchall()
        had = {row["fold"]: (row["id"], row["name"]) for row in rows}
        kept = {fold: tag for fold, tag in had.items() if change.tags is None and fold not in removed} | added
        if kept.keys() == had.keys():
            continue
        if len(kept) > MAX_TAGS and len(kept) > len(had):
            raise InvalidRequest(
                f"An asset would have {len(kept)} tags; the limit is {MAX_TAGS}.", hint="Remove some tags first."
            )
        before[seq]["tags"] = [row["name"] for row in rows]
        shown = connection.execute("SELECT state FROM assets WHERE seq = ?", (seq,)).fetchone()["state"] == DONE
        for fold in had.keys() - kept.keys():
            connection.execute("DELETE FROM asset_tags WHERE seq = ? AND tag = ?", (seq, had[fold][0]))
            change_count(connection, user, "tag", had[fold][1], -1 if shown else 0)
        for fold in kept.keys() - had.keys():
            connection.execute("INSERT INTO asset_tags (seq, tag) VALUES (?, ?)", (seq, kept[fold][0]))
            change_count(connection, user, "tag", kept[fold][1], 1 if shown else 0)


def _find_tag(connection: sqlite3.Connection, name: str, user: str) -> tuple[int, str]:
    """(number, name) of the user's tag of that name, made when there is none; its first spelling stays."""
    fold = fold_name(name)
    connection.execute("INSERT OR IGNORE INTO tags (user, name, fold) VALUES (?, ?, ?)", (user, name, fold))
    row = connection.execute("SELECT id, name FROM tags WHERE user = ? AND fold = ?", (user, fold)).fetchone()
    return row["id"], row["name"]


def _find_collection(connection: sqlite3.Connection, collection: str, user: str) -> str:
    row = connection.execute("SELECT query FROM collections WHERE id = ? AND user = ?", (collection, user)).fetchone()
    if row is None:
        raise NotFound("Collection not found.", hint="It may have been deleted.")
    if row["query"] is not None:
        raise InvalidRequest(
            "A saved search finds its images by itself; none can be added or removed.",
            hint="Choose another collection.",
        )
    return collection


def _change_items(
    connection: sqlite3.Connection,
    seqs: Sequence[int],
    collection: str,
    is_in: bool,
    before: dict[int, dict[str, Any]],
) -> None:
    sql = (
        "INSERT OR IGNORE INTO collection_items (collection, seq) VALUES (?, ?)"
        if is_in
        else "DELETE FROM collection_items WHERE collection = ? AND seq = ?"
    )
    for seq in seqs:
        if connection.execute(sql, (collection, seq)).rowcount:
            before[seq].setdefault("collections", {})[collection] = not is_in

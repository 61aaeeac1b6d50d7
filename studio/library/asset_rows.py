"""Assets as rows: how they are written, and what stands in the full-text index and the counts for each of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from studio.core.errors import StorageFailed
from studio.core.lora_tags import list_tag_names
from studio.core.request import MAX_SEED
from studio.core.result import Asset
from studio.library.index_text import expand_text, make_key
from studio.library.schema import DONE, TRASHED

OWN_SOURCE = "Easel"
_COUNTER, _SLOT = 1 << 20, 1 << 10  # row numbers of a millisecond, of a microsecond
_SEED_RANGE = MAX_SEED + 1
_LAST_MS = (1 << 43) - 1  # the year 2248
_SQUARE = 0.02  # how far width over height may be from 1 for a square


@dataclass(frozen=True, kw_only=True)
class NewRow:
    """One asset to be written; names as in the tables `assets` and `recipes`. `columns` are those of `assets`."""

    columns: dict[str, Any]
    created: float
    prompt: str = ""
    negative: str = ""
    request: str = "{}"
    infotext: str = ""
    notes: str = "[]"
    history: str = "[]"
    parents: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()


def make_row(asset: Asset, path: str, digest: str, state: str) -> NewRow:
    """The row of one of the studio's own images; `path` below the outputs folder."""
    drawn, last = asset.drawn, asset.request.then[-1] if asset.request.then else asset.request
    return NewRow(
        columns={
            "id": asset.id,
            "job_id": asset.job_id or None,
            "user": asset.user,
            "number": asset.index,
            "state": state,
            "path": path,
            "digest": digest,
            "width": asset.width,
            "height": asset.height,
            "seed": _make_signed(asset.seed),
            "label": asset.label,
            "source_type": asset.source_type,
            "task": last.task.value,
            "model": drawn.model,
            "source": asset.source or OWN_SOURCE,
        },
        created=asset.created,
        prompt=drawn.prompt,
        negative=drawn.negative_prompt,
        request=json.dumps(asset.request.to_json()),
        infotext=asset.infotext,
        notes=json.dumps(asset.notes),
        history=json.dumps([request.to_json() for request in asset.history]),
        parents=asset.parents,
        loras=(
            *(lora.name for lora in drawn.loras),
            *(name for area in drawn.areas for name in list_tag_names(area.prompt)),
        ),
    )


def read_seed(row: sqlite3.Row) -> int:
    """The seed of an asset's row, 0 to 2**64-1."""
    return row["seed"] % _SEED_RANGE


def _make_signed(seed: int) -> int:
    """A seed of 64 bits as SQLite has room for it: the upper half below 0."""
    return seed - _SEED_RANGE if seed >= _SEED_RANGE // 2 else seed


def insert_row(connection: sqlite3.Connection, row: NewRow, *, ignore_taken: bool = False) -> int | None:
    """Write an asset; returns its row number, or None with `ignore_taken` when its id, place or number is taken.

    Raises:
        sqlite3.IntegrityError: something of it is taken, without `ignore_taken`.
    """
    seq = _reserve_seq(connection, row.created)
    columns = {"seq": seq, "created": row.created, **row.columns}
    written = connection.execute(
        f"INSERT {'OR IGNORE ' if ignore_taken else ''}INTO assets ({', '.join(columns)})"
        f" VALUES ({', '.join('?' * len(columns))})",
        tuple(columns.values()),
    )
    if not written.rowcount:
        return None
    connection.execute(
        "INSERT INTO recipes (seq, prompt, negative, request, infotext, notes, parents, history)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            seq,
            row.prompt,
            row.negative,
            row.request,
            row.infotext,
            row.notes,
            json.dumps(row.parents),
            row.history,
        ),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO asset_parents (parent, seq) VALUES (?, ?)", [(parent, seq) for parent in row.parents]
    )
    connection.executemany(
        "INSERT OR IGNORE INTO asset_loras (seq, name) VALUES (?, ?)",
        [(seq, name) for name in (*row.loras, *list_tag_names(row.prompt)) if name],
    )
    return seq


def delete_rows(connection: sqlite3.Connection, seqs: Iterable[int]) -> None:
    """Remove assets and all that hangs on them; those that are shown are counted out first with `count_facets`."""
    wanted = [(seq,) for seq in seqs]
    for table in _TABLES:
        connection.executemany(f"DELETE FROM {table} WHERE seq = ?", wanted)


def write_words(connection: sqlite3.Connection, seq: int) -> None:
    """Bring what the full-text index holds of an asset up to date; nothing of one that is not finished."""
    row = connection.execute(
        "SELECT assets.*, recipes.prompt, recipes.negative FROM assets JOIN recipes USING (seq) WHERE seq = ?", (seq,)
    ).fetchone()
    if row is None or row["state"] not in (DONE, TRASHED):
        return
    tags = [tag["name"] for tag in _list_tags(connection, seq)]
    values = (
        expand_text(row["prompt"]),
        expand_text(row["negative"]),
        expand_text(row["title"]),
        expand_text(row["note"]),
        expand_text("\n".join(tags)),
        expand_text(PurePosixPath(row["path"] or "").stem),
        " ".join(_make_keys(row, [lora["name"] for lora in _list_loras(connection, seq)], tags)),
    )
    connection.execute(
        "INSERT INTO texts (seq, prompt, negative, title, note, tags, name, keys) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (seq) DO UPDATE SET prompt = excluded.prompt, negative = excluded.negative,"
        " title = excluded.title, note = excluded.note, tags = excluded.tags, name = excluded.name,"
        " keys = excluded.keys",
        (seq, *values),
    )


def count_facets(connection: sqlite3.Connection, seq: int, count: int) -> None:
    """Add an asset to the numbers beside the filters, or with -1 take it out of them."""
    row = connection.execute("SELECT * FROM assets WHERE seq = ?", (seq,)).fetchone()
    values = [
        ("model", row["model"]),
        ("task", row["task"]),
        ("source", row["source"]),
        ("day", get_day(row["created"])),
        *(("lora", lora["name"]) for lora in _list_loras(connection, seq)),
        *(("tag", tag["name"]) for tag in _list_tags(connection, seq)),
    ]
    for kind, value in values:
        if value:
            change_count(connection, row["user"], kind, value, count)


def change_count(connection: sqlite3.Connection, user: str, kind: str, value: str, count: int) -> None:
    """Change the number of a user's shown assets that have that value."""
    connection.execute(
        "INSERT INTO facets (user, kind, value, count) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user, kind, value) DO UPDATE SET count = count + excluded.count",
        (user, kind, value, count),
    )


def get_day(created: float) -> str:
    """The local day of a time in seconds since the epoch, as 2026-11-29."""
    try:
        return datetime.fromtimestamp(max(0.0, created)).strftime("%Y-%m-%d")
    except (OverflowError, OSError, ValueError):
        return ""


def get_first_seq(created: float) -> int:
    """The smallest row number of that time or later: the milliseconds, then the microseconds, then a counter."""
    ms, us = divmod(max(int(created * 1_000_000), 0), 1_000)
    return min(ms, _LAST_MS) * _COUNTER + us * _SLOT


def get_owner_key(user: str, *, trashed: bool) -> str:
    """The word of the index that all shown, or all trashed, assets of a user have."""
    return make_key("t" if trashed else "o", "=" + user)


def get_aspect(width: int, height: int) -> str:
    """landscape, portrait or square; "" without a size."""
    if not width or not height:
        return ""
    if abs(width / height - 1) <= _SQUARE:
        return "square"
    return "landscape" if width > height else "portrait"


def _make_keys(row: sqlite3.Row, loras: Iterable[str], tags: Iterable[str]) -> list[str]:
    return [
        get_owner_key(row["user"], trashed=row["state"] == TRASHED),
        make_key("kind", row["kind"]),
        make_key("model", row["model"]),
        make_key("task", row["task"]),
        make_key("source", row["source"]),
        make_key("seed", str(read_seed(row))),
        make_key("size", f"{row['width']}x{row['height']}"),
        make_key("aspect", get_aspect(row["width"], row["height"])),
        make_key("is", "made" if row["job_id"] is not None else "imported"),
        *(make_key("lora", name) for name in loras),
        *(make_key("tag", name) for name in tags),
    ]


def _reserve_seq(connection: sqlite3.Connection, created: float) -> int:
    """A free row number for an asset of that time (seconds since the epoch), after all others of its time."""
    first = get_first_seq(created)
    for end in (first + _SLOT, (first // _COUNTER + 1) * _COUNTER):  # a copied folder may have one time for all files
        last = connection.execute("SELECT max(seq) FROM assets WHERE seq >= ? AND seq < ?", (first, end)).fetchone()[0]
        if last is None:
            return first
        if last + 1 < end:
            return last + 1
    raise StorageFailed("More than a million assets have one time.", hint="Give some of the files another time.")


def _list_tags(connection: sqlite3.Connection, seq: int) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT name FROM asset_tags JOIN tags ON tags.id = asset_tags.tag WHERE seq = ? ORDER BY name", (seq,)
    ).fetchall()


def _list_loras(connection: sqlite3.Connection, seq: int) -> list[sqlite3.Row]:
    return connection.execute("SELECT name FROM asset_loras WHERE seq = ?", (seq,)).fetchall()


_TABLES = (
    "texts",
    "assets",
    "recipes",
    "asset_parents",
    "asset_loras",
    "asset_tags",
    "collection_items",
    "uses",
    "undo_items",
    "hashes",
    "vectors",
)

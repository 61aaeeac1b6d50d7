"""Assets as the library shows them: a line of a list, and everything about one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from studio.core.errors import NotFound
from studio.library.asset_rows import read_seed
from studio.library.database import Database
from studio.library.schema import DONE, RESTORING, TRASHED, TRASHING

SHOWN_STATES = f"('{DONE}', '{TRASHED}', '{TRASHING}', '{RESTORING}')"
_MAX_RELATIVES = 500  # parents or children that are listed
_CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class AssetEntry:
    """One asset in a list. `created` in seconds since the epoch; `rating` 0 to 5; `uses` how often it was used;
    `job` is "" for what none here made; `blurred` means that moderation holds the original back."""

    seq: int
    id: str
    kind: str
    width: int
    height: int
    created: float
    title: str
    prompt: str
    negative_prompt: str
    model: str
    seed: int
    task: str
    source: str
    favourite: bool
    rating: int
    note: str
    trashed: bool
    uses: int
    job: str
    tags: tuple[str, ...] = ()
    blurred: bool = False


@dataclass(frozen=True, kw_only=True)
class AssetDetails:
    """Everything about one asset. `request` is its recipe as JSON, None where there is none; `history` names the tasks
    that it came through; `collections` are (id, name)."""

    entry: AssetEntry
    request: Mapping[str, object] | None
    infotext: str
    parents: tuple[str, ...]
    children: tuple[str, ...]
    history: tuple[str, ...]
    collections: tuple[tuple[str, str], ...]
    use_counts: Mapping[str, int] = field(default_factory=dict[str, int])


class Entries:
    """Reads assets of one user at a time. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_entries(self, seqs: Sequence[int]) -> list[AssetEntry]:
        """The assets of these row numbers in their order; those that were removed meanwhile are left out."""
        found: dict[int, AssetEntry] = {}
        with self._database.read() as connection:
            for begin in range(0, len(seqs), _CHUNK):
                found.update(_read_entries(connection, seqs[begin : begin + _CHUNK]))
        return [found[seq] for seq in seqs if seq in found]

    def get_details(self, asset_id: str, user: str) -> AssetDetails:
        """Everything about one asset.

        Raises:
            NotFound: there is none of that id, or it is another user's.
        """
        with self._database.read() as connection:
            seq = find_seq(connection, asset_id, user)
            entry = _read_entries(connection, [seq])[seq]
            row = connection.execute(
                "SELECT request, infotext, parents, history FROM assets JOIN recipes USING (seq) WHERE seq = ?",
                (seq,),
            ).fetchone()
            children = connection.execute(
                "SELECT assets.id FROM asset_parents JOIN assets USING (seq) WHERE parent = ? AND user = ?"
                " AND state = ? ORDER BY seq LIMIT ?",
                (asset_id, user, DONE, _MAX_RELATIVES),
            ).fetchall()
            collections = connection.execute(
                "SELECT id, name FROM collection_items JOIN collections ON collections.id = collection WHERE seq = ?"
                " ORDER BY name",
                (seq,),
            ).fetchall()
            uses = connection.execute("SELECT use, count FROM uses WHERE seq = ?", (seq,)).fetchall()
            parents = _select_known(connection, json.loads(row["parents"])[:_MAX_RELATIVES], user)
        request = json.loads(row["request"])
        return AssetDetails(
            entry=entry,
            request=request or None,
            infotext=row["infotext"],
            parents=tuple(parents),
            children=tuple(child["id"] for child in children),
            history=tuple(str(one.get("task", "txt2img")) for one in json.loads(row["history"])),
            collections=tuple((one["id"], one["name"]) for one in collections),
            use_counts={one["use"]: one["count"] for one in uses},
        )

    def get_entry(self, asset_id: str, user: str) -> AssetEntry:
        """One asset; raises as `get_details`."""
        with self._database.read() as connection:
            seq = find_seq(connection, asset_id, user)
            return _read_entries(connection, [seq])[seq]

    def select_shown(self, seqs: Sequence[int], user: str) -> list[int]:
        """Those of the row numbers that are the user's and shown, in their order."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT seq FROM json_each(?) JOIN assets ON seq = value WHERE user = ? AND state = ?",
                (json.dumps(list(seqs)), user, DONE),
            ).fetchall()
        own = {row["seq"] for row in rows}
        return [seq for seq in seqs if seq in own]

    def list_newest_seqs(self, user: str, limit: int) -> list[int]:
        """The row numbers of the user's newest shown assets."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT seq FROM assets WHERE user = ? AND state = ? ORDER BY seq DESC LIMIT ?", (user, DONE, limit)
            ).fetchall()
        return [row["seq"] for row in rows]

    def find_seqs(self, ids: Sequence[str], user: str) -> list[int]:
        """The row numbers of the user's assets among `ids`; ids of others and unknown ones are left out."""
        found: list[int] = []
        with self._database.read() as connection:
            for begin in range(0, len(ids), _CHUNK):
                rows = connection.execute(
                    f"SELECT seq FROM assets WHERE id IN (SELECT value FROM json_each(?)) AND user = ?"
                    f" AND state IN {SHOWN_STATES}",
                    (json.dumps(ids[begin : begin + _CHUNK]), user),
                )
                found.extend(row["seq"] for row in rows)
        return found


def find_seq(connection: sqlite3.Connection, asset_id: str, user: str) -> int:
    """The row number of a user's asset that is shown or in the trash.

    Raises:
        NotFound: there is none of that id, or it is another user's.
    """
    row = connection.execute(
        f"SELECT seq FROM assets WHERE id = ? AND user = ? AND state IN {SHOWN_STATES}", (asset_id, user)
    ).fetchone()
    if row is None:
        raise NotFound("Image not found.", hint="It may have been removed, or belong to another user.")
    return row["seq"]


def _read_entries(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, AssetEntry]:
    numbers = json.dumps(list(seqs))
    tags: dict[int, list[str]] = {}
    for row in connection.execute(
        "SELECT seq, name FROM json_each(?) JOIN asset_tags ON seq = value JOIN tags ON tags.id = tag ORDER BY name",
        (numbers,),
    ):
        tags.setdefault(row["seq"], []).append(row["name"])
    rows = connection.execute(
        "SELECT assets.*, prompt, negative, EXISTS (SELECT 1 FROM held WHERE held.asset = assets.id) AS blurred"
        " FROM json_each(?) JOIN assets ON assets.seq = value"
        " JOIN recipes USING (seq)",
        (numbers,),
    )
    return {row["seq"]: _make_entry(row, tuple(tags.get(row["seq"], ()))) for row in rows}


def _make_entry(row: sqlite3.Row, tags: tuple[str, ...]) -> AssetEntry:
    return AssetEntry(
        **{name: row[name] for name in ("seq", "id", "kind", "width", "height", "created", "title", "prompt", "model")},
        **{name: row[name] for name in ("task", "source", "rating", "note", "uses")},
        seed=read_seed(row),
        negative_prompt=row["negative"],
        job=row["job_id"] or "",
        favourite=bool(row["favourite"]),
        trashed=row["state"] in (TRASHED, TRASHING),
        blurred=bool(row["blurred"]),
        tags=tags,
    )


def _select_known(connection: sqlite3.Connection, ids: Sequence[str], user: str) -> list[str]:
    """Those of `ids` that are assets of the user, in their order."""
    rows = connection.execute(
        f"SELECT id FROM assets WHERE id IN (SELECT value FROM json_each(?)) AND user = ? AND state IN {SHOWN_STATES}",
        (json.dumps(list(ids)), user),
    )
    known = {row["id"] for row in rows}
    return [one for one in ids if one in known]

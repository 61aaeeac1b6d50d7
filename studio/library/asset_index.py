"""The index of images: which there are, whose, and what made them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from studio.core.errors import NotFound
from studio.core.result import Asset
from studio.core.stored_requests import parse_request, parse_requests
from studio.library.asset_rows import (
    OWN_SOURCE,
    NewRow,
    count_facets,
    delete_rows,
    insert_row,
    make_row,
    read_seed,
    write_words,
)
from studio.library.curation_log import CurationLog
from studio.library.database import Database
from studio.library.schema import DONE, INTENT, RESTORING, SKIPPED, TRASHED, TRASHING
from studio.library.uses import count_parents

_SELECT = (
    "SELECT assets.*, folders.path AS folder_path, request, infotext, notes, parents, history,"
    " EXISTS (SELECT 1 FROM held WHERE held.asset = assets.id) AS blurred"
    " FROM assets JOIN recipes USING (seq) LEFT JOIN folders ON folders.id = assets.folder"
)
_COUNT_IMAGE = (
    "INSERT INTO usage (user, day, images) VALUES (?, ?, 1) ON CONFLICT (user, day) DO UPDATE SET images = images + 1"
)
_THERE = f"state IN ('{DONE}', '{TRASHED}', '{TRASHING}', '{RESTORING}')"  # the trash is a place like any other


class AssetIndex:
    """The images below `root`, the outputs folder. Every method may be called from any thread."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._log = CurationLog(root)
        self.root = root

    def get(self, asset_id: str, user: str) -> Asset:
        """One image of `user`.

        Raises:
            NotFound: there is none of that id, it is another user's, or its file was deleted.
        """
        rows = self._database.rows(f"{_SELECT} WHERE assets.id = ? AND assets.user = ? AND {_THERE}", (asset_id, user))
        assets = self._build_assets(rows)
        if not assets or not assets[0].path.is_file():
            raise NotFound("Image not found.", hint="It may have been deleted from the outputs folder.")
        return assets[0]

    def list_by_ids(self, ids: Sequence[str], user: str) -> list[Asset]:
        """The user's assets among `ids`, in their order."""
        rows = self._database.rows(
            f"{_SELECT} WHERE assets.id IN (SELECT value FROM json_each(?)) AND assets.user = ? AND {_THERE}",
            (json.dumps(list(ids)), user),
        )
        found = {asset.id: asset for asset in self._build_assets(rows)}
        return [found[one] for one in ids if one in found]

    def list_newest(self, user: str, limit: int) -> list[Asset]:
        """The latest images of `user` whose files are there, newest first."""
        rows = self._database.rows(
            f"{_SELECT} WHERE assets.user = ? AND state = ? AND kind = 'image' ORDER BY seq DESC LIMIT ?",
            (user, DONE, limit),
        )
        return [asset for asset in self._build_assets(rows) if asset.path.is_file()]

    def list_job_assets(self, job_id: str) -> tuple[Asset, ...]:
        """The finished images of a job, in their order."""
        return self.list_assets_by_job([job_id])[job_id]

    def list_assets_by_job(self, job_ids: Sequence[str]) -> dict[str, tuple[Asset, ...]]:
        """The finished images of each job, in their order, found by one query."""
        marks = ", ".join("?" * len(job_ids))
        rows = self._database.rows(
            f"{_SELECT} WHERE job_id IN ({marks}) AND state = ? ORDER BY number", (*job_ids, DONE)
        )
        found: dict[str, list[Asset]] = {job_id: [] for job_id in job_ids}
        for asset in self._build_assets(rows):
            found[asset.job_id].append(asset)
        return {job_id: tuple(assets) for job_id, assets in found.items()}

    def list_settled_numbers(self, job_id: str) -> set[int]:
        """The numbers of a job's images that need no drawing: finished, skipped, or in the trash by now."""
        rows = self._database.rows(
            f"SELECT number FROM assets WHERE job_id = ? AND (state = ? OR {_THERE})", (job_id, SKIPPED)
        )
        return {row["number"] for row in rows}

    def skip(self, job_id: str, user: str, numbers: Sequence[int]) -> None:
        """Remember that the user did not want these images."""
        with self._database.transaction() as connection:
            for number in numbers:
                columns = {
                    "id": f"{job_id}-{number}",
                    "job_id": job_id,
                    "user": user,
                    "number": number,
                    "state": SKIPPED,
                }
                _remove_unfinished(connection, columns["id"])
                insert_row(connection, NewRow(columns=columns, created=time.time()), ignore_taken=True)

    def find_finished(self, asset_id: str) -> Asset | None:
        """The image of that id when it is in place, or in the trash by now."""
        rows = self._database.rows(f"{_SELECT} WHERE assets.id = ? AND {_THERE}", (asset_id,))
        return self._build_assets(rows)[0] if rows else None

    def record_intent(self, asset: Asset, digest: str) -> bool:
        """Note that `asset` is about to be written with content of that digest. False when its path is taken."""
        try:
            with self._database.transaction() as connection:
                _remove_unfinished(connection, asset.id)
                insert_row(connection, make_row(asset, self.get_relative_path(asset.path), digest, INTENT))
        except sqlite3.IntegrityError:
            return False
        return True

    def record_done(self, asset_id: str) -> None:
        """Note that the image is in place; its job has got on, so that its attempts count from the start again."""
        with self._database.transaction() as connection:
            for row in connection.execute(
                "UPDATE assets SET state = ? WHERE id = ? AND state = ? RETURNING seq, user, job_id, path",
                (DONE, asset_id, INTENT),
            ).fetchall():
                write_words(connection, row["seq"])
                count_facets(connection, row["seq"], 1)
                count_parents(connection, row["seq"], row["user"], self._log)
                with contextlib.suppress(OSError):
                    size = (self.root / row["path"]).stat().st_size
                    connection.execute("UPDATE assets SET bytes = ? WHERE seq = ?", (size, row["seq"]))
                if row["job_id"]:
                    connection.execute(_COUNT_IMAGE, (row["user"], time.strftime("%Y-%m-%d")))
            connection.execute(
                "UPDATE jobs SET attempts = 0 WHERE attempts > 0 AND id = (SELECT job_id FROM assets WHERE id = ?)",
                (asset_id,),
            )

    def record_content(self, asset_id: str, digest: str, size: int) -> None:
        """Note that the file of an image has another content of that digest and size in bytes."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE assets SET digest = ?, bytes = ? WHERE id = ?", (digest, size, asset_id))

    def find_any(self, asset_id: str) -> Asset:
        """The image of that id, whoever's it is; raises NotFound."""
        found = self.find_finished(asset_id)
        if found is None:
            raise NotFound("Image not found.", hint="It may have been deleted.")
        return found

    def forget(self, asset_id: str) -> None:
        """Drop an intent that came to nothing."""
        with self._database.transaction() as connection:
            _remove_unfinished(connection, asset_id)

    def list_intents(self, *, job_id: str = "", asset_id: str = "") -> list[tuple[Asset, str]]:
        """Images (of a job, or the one of that id) whose writing was begun and not ended, with their digests."""
        rows = self._database.rows(
            f"{_SELECT} WHERE (job_id = ? OR assets.id = ?) AND state = ?", (job_id, asset_id, INTENT)
        )
        return list(zip(self._build_assets(rows), [row["digest"] for row in rows], strict=True))

    def list_fed_intents(self, before: float) -> list[tuple[Asset, str]]:
        """As `list_intents`, for images that no job made and whose writing was begun before that time."""
        rows = self._database.rows(f"{_SELECT} WHERE state = ? AND job_id IS NULL AND created < ?", (INTENT, before))
        return list(zip(self._build_assets(rows), [row["digest"] for row in rows], strict=True))

    def list_paths(self) -> set[str]:
        """The stored paths of all images, begun ones too."""
        return {
            row["path"] for row in self._database.rows("SELECT path FROM assets WHERE folder = 0 AND path IS NOT NULL")
        }

    def add_found(self, asset: Asset, original: str = "") -> bool:
        """Index an image that lies in the outputs folder already, or in the trash there, where `original` is the path
        that it had before; False when its id or its path is known."""
        row = make_row(asset, self.get_relative_path(asset.path), "", TRASHED if original else DONE)
        with contextlib.suppress(OSError):
            row.columns["bytes"] = asset.path.stat().st_size
        if original:
            row.columns.update(other_path=original, trashed=time.time())
        with self._database.transaction() as connection:
            seq = insert_row(connection, row, ignore_taken=True)
            if seq is not None:
                write_words(connection, seq)
                count_facets(connection, seq, 0 if original else 1)
        return seq is not None

    def get_relative_path(self, path: Path) -> str:
        """The path as it is stored: below the outputs folder, with "/"."""
        return path.relative_to(self.root).as_posix()

    def _build_assets(self, rows: Sequence[sqlite3.Row]) -> list[Asset]:
        return [
            Asset(
                id=row["id"],
                job_id=row["job_id"] or "",
                user=row["user"],
                index=row["number"],
                path=Path(row["folder_path"] or self.root) / (row["path"] or ""),
                width=row["width"],
                height=row["height"],
                seed=read_seed(row),
                created=row["created"],
                request=parse_request(row["request"]),
                infotext=row["infotext"],
                notes=tuple(json.loads(row["notes"])),
                parents=tuple(json.loads(row["parents"])),
                history=parse_requests(row["history"]),
                label=row["label"],
                source_type=row["source_type"],
                source="" if row["source"] == OWN_SOURCE else row["source"],
                blurred=bool(row["blurred"]),
            )
            for row in rows
        ]


def _remove_unfinished(connection: sqlite3.Connection, asset_id: str) -> None:
    """Drop what stands for an image that is not there: it was begun or skipped."""
    rows = connection.execute(
        "SELECT seq FROM assets WHERE id = ? AND state IN (?, ?)", (asset_id, INTENT, SKIPPED)
    ).fetchall()
    delete_rows(connection, [row["seq"] for row in rows])

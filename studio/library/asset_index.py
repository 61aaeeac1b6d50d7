"""The index of images: which there are, whose, and what made them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from studio.core.errors import NotFound
from studio.core.result import Asset
from studio.core.stored_requests import parse_request, parse_requests
from studio.library.database import Database

INTENT, DONE, SKIPPED = "intent", "done", "skipped"


class AssetIndex:
    """The images below `root`, the outputs folder. Every method may be called from any thread."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self.root = root

    def get(self, asset_id: str, user: str) -> Asset:
        """One image of `user`.

        Raises:
            NotFound: there is none of that id, it is another user's, or its file was deleted.
        """
        rows = self._database.rows(
            "SELECT * FROM pictures WHERE id = ? AND user = ? AND state = ?", (asset_id, user, DONE)
        )
        assets = self._build_assets(rows)
        if not assets or not assets[0].path.is_file():
            raise NotFound("Image not found.", hint="It may have been deleted from the outputs folder.")
        return assets[0]

    def list_newest(self, user: str, limit: int) -> list[Asset]:
        """The latest images of `user` whose files are there, newest first."""
        rows = self._database.rows(
            "SELECT * FROM pictures WHERE user = ? AND state = ? ORDER BY created DESC, number DESC LIMIT ?",
            (user, DONE, limit),
        )
        return [asset for asset in self._build_assets(rows) if asset.path.is_file()]

    def list_job_assets(self, job_id: str) -> tuple[Asset, ...]:
        """The finished images of a job, in their order."""
        rows = self._database.rows(
            "SELECT * FROM pictures WHERE job_id = ? AND state = ? ORDER BY number", (job_id, DONE)
        )
        return tuple(self._build_assets(rows))

    def list_settled_numbers(self, job_id: str) -> set[int]:
        """The numbers of a job's images that need no drawing: finished or skipped."""
        rows = self._database.rows(
            "SELECT number FROM pictures WHERE job_id = ? AND state IN (?, ?)", (job_id, DONE, SKIPPED)
        )
        return {row["number"] for row in rows}

    def skip(self, job_id: str, user: str, numbers: Sequence[int]) -> None:
        """Remember that the user did not want these images."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO pictures (id, job_id, user, number, state) VALUES (?, ?, ?, ?, ?)",
                [(f"{job_id}-{number}", job_id, user, number, SKIPPED) for number in numbers],
            )

    def find_finished(self, asset_id: str) -> Asset | None:
        """The image of that id when it is in place."""
        rows = self._database.rows("SELECT * FROM pictures WHERE id = ? AND state = ?", (asset_id, DONE))
        return self._build_assets(rows)[0] if rows else None

    def record_intent(self, asset: Asset, digest: str) -> bool:
        """Note that `asset` is about to be written with content of that digest. False when its path is taken."""
        try:
            with self._database.transaction() as connection:
                _insert(connection, asset, self.get_relative_path(asset.path), digest, INTENT)
        except sqlite3.IntegrityError:
            return False
        return True

    def record_done(self, asset_id: str) -> None:
        """Note that the image is in place; its job has got on, so that its attempts count from the start again."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE pictures SET state = ? WHERE id = ?", (DONE, asset_id))
            connection.execute(
                "UPDATE jobs SET attempts = 0 WHERE attempts > 0 AND id = (SELECT job_id FROM pictures WHERE id = ?)",
                (asset_id,),
            )

    def forget(self, asset_id: str) -> None:
        """Drop an intent that came to nothing."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM pictures WHERE id = ? AND state = ?", (asset_id, INTENT))

    def list_intents(self, *, job_id: str = "", asset_id: str = "") -> list[tuple[Asset, str]]:
        """Images (of a job, or the one of that id) whose writing was begun and not ended, with their digests."""
        rows = self._database.rows(
            "SELECT * FROM pictures WHERE (job_id = ? OR id = ?) AND state = ?", (job_id, asset_id, INTENT)
        )
        return list(zip(self._build_assets(rows), [row["digest"] for row in rows], strict=True))

    def list_paths(self) -> set[str]:
        """The stored paths of all images, begun ones too."""
        return {row["path"] for row in self._database.rows("SELECT path FROM pictures WHERE path IS NOT NULL")}

    def add_found(self, asset: Asset) -> bool:
        """Index an image that lies in the outputs folder already; False when its id or its path is known."""
        with self._database.transaction() as connection:
            return _insert(connection, asset, self.get_relative_path(asset.path), "", DONE, replace=False) > 0

    def get_relative_path(self, path: Path) -> str:
        """The path as it is stored: below the outputs folder, with "/"."""
        return path.relative_to(self.root).as_posix()

    def _build_assets(self, rows: Sequence[sqlite3.Row]) -> list[Asset]:
        return [
            Asset(
                id=row["id"],
                job_id=row["job_id"],
                user=row["user"],
                index=row["number"],
                path=self.root / (row["path"] or ""),
                width=row["width"],
                height=row["height"],
                seed=row["seed"],
                created=row["created"],
                request=parse_request(row["request"]),
                infotext=row["infotext"],
                notes=tuple(json.loads(row["notes"])),
                parents=tuple(json.loads(row["parents"])),
                history=parse_requests(row["history"]),
                label=row["label"],
                source_type=row["source_type"],
            )
            for row in rows
        ]


def _insert(
    connection: sqlite3.Connection, asset: Asset, relative: str, digest: str, state: str, *, replace: bool = True
) -> int:
    if replace:
        connection.execute("DELETE FROM pictures WHERE id = ? AND state != ?", (asset.id, DONE))
    return connection.execute(
        f"INSERT {'' if replace else 'OR IGNORE '}INTO pictures (id, job_id, user, number, state, path, digest, width,"
        " height, seed, created, request, infotext, notes, parents, history, label, source_type)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            asset.id,
            asset.job_id,
            asset.user,
            asset.index,
            state,
            relative,
            digest,
            asset.width,
            asset.height,
            asset.seed,
            asset.created,
            json.dumps(asset.request.to_json()),
            asset.infotext,
            json.dumps(asset.notes),
            json.dumps(asset.parents),
            json.dumps([request.to_json() for request in asset.history]),
            asset.label,
            asset.source_type,
        ),
    ).rowcount

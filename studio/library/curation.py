"""Changing what users note of their assets, one or many at a time."""

from __future__ import annotations

from studio.library.changes import Change, apply_change
from studio.library.curation_log import CurationLog
from studio.library.database import Database
from studio.library.entries import find_seq


class Curation:
    """Changes assets of one user at a time. Thread-safe."""

    def __init__(self, database: Database, log: CurationLog) -> None:
        self._database = database
        self._log = log

    def change(self, asset_id: str, change: Change, user: str) -> None:
        """Change one asset.

        Raises:
            NotFound: there is none of that id, or it is another user's; or no such collection.
            InvalidRequest: a value that is not possible. StorageFailed: it could not be written.
        """
        with self._database.transaction() as connection:
            seq = find_seq(connection, asset_id, user)
            if apply_change(connection, [seq], change, user):
                self._log.append(user, change.to_json(), [asset_id])

"""Everything of one user: as a zip, or gone."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from studio.core.durable_files import translate_os_errors
from studio.core.errors import QueueFull
from studio.core.user import LOCAL_USER
from studio.engine.api_tokens import ApiTokens
from studio.engine.audit import AuditEvent, AuditLog
from studio.engine.storage.zip_stream import stream_zip
from studio.library.asset_library import AssetLibrary
from studio.library.user_rows import UserRows

LISTING = "data.jsonl"  # in the zip: one line for each thing that is known of the user
MAX_AUDIT_ENTRIES = 100_000
_LIST_FOLDERS = ("recipes", "wildcards", "personas", "templates")  # in the settings' folder
_WAIT_SECONDS = 20.0  # for running jobs to stop


class UserData:
    """Export and removal. Thread-safe."""

    def __init__(self, rows: UserRows, folder: Path, tokens: ApiTokens, audit: AuditLog, library: AssetLibrary) -> None:
        """`folder` is that of the settings, in which users' own lists lie."""
        self._rows = rows
        self._folder = folder
        self._tokens = tokens
        self._audit = audit
        self._library = library

    def export(self, user: str) -> Iterator[bytes]:
        """The bytes of a zip: images, images that were brought, own lists, and `data.jsonl` with all the rest."""
        self._audit.record(AuditEvent.DATA_EXPORTED, user)
        files = [*self._rows.iterate_files(user), *self._iterate_list_files(user)]
        return stream_zip(
            [path for path, _ in files], [name for _, name in files], listing=(LISTING, self._iterate_lines(user))
        )

    def delete(self, user: str, by: str, stop_jobs: Callable[[], bool]) -> dict[str, int]:
        """Remove everything of `user` for good; returns how many of what. `by` is who asked. `stop_jobs` stops the
        user's jobs and tells whether all have ended.

        Raises:
            QueueFull: a job does not stop. StorageFailed: a file or the database could not be changed; what was removed
                is gone, and the same call may be made again.
        """
        end = time.monotonic() + _WAIT_SECONDS
        while not stop_jobs():
            if time.monotonic() > end:
                raise QueueFull("A job is still running.", hint="Try again when it has stopped.")
            time.sleep(0.1)
        counts = self._rows.remove(user)
        self._library.forget_notes(user)
        counts["tokens"] = self._tokens.revoke_all(user)
        for path, _ in self._iterate_list_files(user):
            with translate_os_errors("the user's lists"):
                path.unlink(missing_ok=True)
        if user != LOCAL_USER.name:
            for kind in _LIST_FOLDERS:
                shutil.rmtree(self._folder / kind / "users" / _quote(user), ignore_errors=True)
        self._audit.record(AuditEvent.DATA_DELETED, by, of=user, **counts)
        return counts

    def _iterate_lines(self, user: str) -> Iterator[str]:
        for row in self._rows.iterate_rows(user):
            yield _write_line(row)
        for token in self._tokens.list_tokens(user):
            yield _write_line(
                {"table": "tokens", "name": token.name, "scope": token.scope.value, "created": token.created}
            )
        for entry in self._audit.list_latest(MAX_AUDIT_ENTRIES, user=user):
            yield _write_line({"table": "audit", **entry})

    def _iterate_list_files(self, user: str) -> Iterator[tuple[Path, str]]:
        """(file, name in a zip) of recipes, wildcards, personas, templates and platform formats of the user's own."""
        for kind in _LIST_FOLDERS:
            if user == LOCAL_USER.name:
                base = self._folder / kind
                found = [path for path in base.rglob("*") if path.relative_to(base).parts[0] != "users"]
            else:
                base = self._folder / kind / "users" / _quote(user)
                found = list(base.rglob("*"))
            yield from ((path, f"{kind}/{path.relative_to(base).as_posix()}") for path in found if path.is_file())
        formats = self._folder / "formats" / f"{_quote(user)}.toml"
        if user != LOCAL_USER.name and formats.is_file():
            yield formats, "formats.toml"


def _quote(user: str) -> str:
    """The user's name as it stands in file names."""
    return quote(user, safe="").replace(".", "%2E")


def _write_line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False, default=str)

"""The durable queue: a job is on disk before its submitter hears of it, and stays there until it has ended.

Every job has an owner, the process that works on it. What a dead owner left behind is claimed by the next process that
starts on the same outputs folder; what a living one holds is never touched.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.errors import InvalidRequest, RateLimited, StudioError
from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.stored_requests import decode_request
from studio.library.database import Database
from studio.library.process_locks import ProcessLock

MAX_ATTEMPTS = 3  # a job that ended the whole process this often, without one image more, is not begun again
_OPEN_STATUSES = (Status.QUEUED.value, Status.RUNNING.value)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """One job as the journal knows it. `seconds` and `error` are there once it has ended."""

    id: str
    user: str
    model: str
    request: GenerationRequest
    status: Status
    created: float
    notices: tuple[str, ...] = ()
    error: StudioError | None = None
    seconds: float | None = None


class Journal:
    """The jobs of one outputs folder. Thread-safe; other processes may use the same folder."""

    def __init__(self, database: Database, owner: ProcessLock) -> None:
        self._database = database
        self._owner = owner

    def add(self, entry: JournalEntry) -> None:
        """Commit a queued job, ours to run."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs (id, user, model, request, status, notices, created, owner)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    entry.id,
                    entry.user,
                    entry.model,
                    json.dumps(entry.request.to_json()),
                    Status.QUEUED.value,
                    json.dumps(entry.notices),
                    entry.created,
                    self._owner.id,
                ),
            )

    def record_start(self, job_id: str) -> None:
        """The job runs from now on."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET status = ?, attempts = attempts + 1 WHERE id = ?", (Status.RUNNING.value, job_id)
            )

    def put_back(self, job_id: str) -> None:
        """The job waits again, at its old place."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET status = ?, attempts = 0, error = NULL, finished = NULL WHERE id = ?",
                (Status.QUEUED.value, job_id),
            )

    def record_cancelled(self, notices: Mapping[str, tuple[str, ...]]) -> None:
        """Jobs that waited are over, all of them or none; `notices` has the notices of each by its id."""
        now = time.time()
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE jobs SET status = ?, finished = ?, seconds = NULL, error = NULL, notices = ? WHERE id = ?",
                [(Status.CANCELLED.value, now, json.dumps(texts), job_id) for job_id, texts in notices.items()],
            )

    def record_end(
        self,
        job_id: str,
        status: Status,
        *,
        seconds: float | None = None,
        error: StudioError | None = None,
        notices: tuple[str, ...] = (),
    ) -> None:
        """The job is over; `status` is a final one."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET status = ?, finished = ?, seconds = ?, error = ?, notices = ? WHERE id = ?",
                (
                    status.value,
                    time.time(),
                    seconds,
                    json.dumps(error.to_json(), default=str) if error else None,
                    json.dumps(notices),
                    job_id,
                ),
            )

    def get(self, job_id: str, user: str) -> JournalEntry | None:
        """The job of that user, None when there is none."""
        rows = self._database.rows("SELECT * FROM jobs WHERE id = ? AND user = ?", (job_id, user))
        return _parse_entry(rows[0]) if rows else None

    def list_newest(self, user: str, limit: int) -> list[JournalEntry]:
        """The latest jobs of `user`, newest first, those of earlier runs and other processes too."""
        rows = self._database.rows("SELECT * FROM jobs WHERE user = ? ORDER BY seq DESC LIMIT ?", (user, limit))
        return [_parse_entry(row) for row in rows]

    def count_open(self, user: str) -> int:
        """How many jobs of `user` have not ended, those of other processes too."""
        rows = self._database.rows(
            # The plus keeps SQLite from walking all jobs of the user: the open ones of everybody are few.
            "SELECT count(*) FROM jobs WHERE status IN (?, ?) AND +user = ?",
            (*_OPEN_STATUSES, user),
        )
        return rows[0][0]

    def claim(self) -> list[JournalEntry]:
        """Take over all unfinished jobs whose owners are dead, in the order they were submitted.

        One that has ended its process MAX_ATTEMPTS times is marked as failed instead.
        """
        with self._database.transaction() as connection:
            marks = "SELECT DISTINCT owner FROM jobs WHERE status IN (?, ?)"
            dead = [
                row["owner"]
                for row in connection.execute(marks, _OPEN_STATUSES)
                if not self._owner.is_alive(row["owner"])
            ]
            claimed: list[sqlite3.Row] = []
            for owner in dead:
                claimed += connection.execute(
                    "SELECT * FROM jobs WHERE owner = ? AND status IN (?, ?)", (owner, *_OPEN_STATUSES)
                )
            for row in claimed:
                out_of_attempts = row["attempts"] >= MAX_ATTEMPTS
                connection.execute(
                    "UPDATE jobs SET owner = ?, status = ?, error = ?, finished = ? WHERE id = ?",
                    (
                        self._owner.id,
                        (Status.FAILED if out_of_attempts else Status.QUEUED).value,
                        json.dumps(_make_attempts_error().to_json()) if out_of_attempts else None,
                        time.time() if out_of_attempts else None,
                        row["id"],
                    ),
                )
        claimed.sort(key=lambda row: row["seq"])
        return [_parse_entry(row) for row in claimed if row["attempts"] < MAX_ATTEMPTS]


def _make_attempts_error() -> StudioError:
    return StudioError(
        f"The studio ended {MAX_ATTEMPTS} times while it worked on this job, so it is not restarted.",
        hint="Try a smaller size or another model.",
    )


def _parse_entry(row: sqlite3.Row) -> JournalEntry:
    try:
        request = decode_request(row["request"])
    except InvalidRequest as error:  # written by another version
        _log.warning("the request of job %s is not understood any more: %s", row["id"], error.message)
        request = GenerationRequest(model=row["model"])
    return JournalEntry(
        id=row["id"],
        user=row["user"],
        model=row["model"],
        request=request,
        status=Status(row["status"]),
        created=row["created"],
        notices=tuple(json.loads(row["notices"])),
        error=_parse_error(row["error"]),
        seconds=row["seconds"],
    )


def _parse_error(text: str | None) -> StudioError | None:
    if text is None:
        return None
    data: dict[str, Any] = json.loads(text)
    details: dict[str, Any] = dict(data.get("details", {}))
    hint = str(details.pop("hint", ""))
    kind = next((kind for kind in _list_error_classes(StudioError) if kind.code == data["code"]), StudioError)
    if issubclass(kind, RateLimited):
        return kind(data["error"], retry_after=details.get("retry_after"), hint=hint)
    return kind(data["error"], hint=hint, details=details)


def _list_error_classes(base: type[StudioError]) -> list[type[StudioError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in _list_error_classes(child))]

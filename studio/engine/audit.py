"""The audit log: who logged in, changed settings, users or keys, and what was held back or released; one JSON object
per line, in a file that only grows. What users write into prompts is never in it."""

from __future__ import annotations

import collections
import json
import logging
import logging.handlers
import os
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from studio.core.durable_files import translate_os_errors
from studio.core.secrets_filter import redact
from studio.engine.logs import sweep_log_files

AUDIT_FILE = "audit.jsonl"
_MAX_BYTES, _BACKUP_COUNT = 5_000_000, 9  # size of one file, and how many old ones stay
_MAX_VALUE_LENGTH = 200  # characters of a value


class AuditEvent(StrEnum):
    """What is logged."""

    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    SESSION_ENDED = "session_ended"
    TOKEN_CREATED = "token_created"
    TOKEN_REVOKED = "token_revoked"
    USER_ADDED = "user_added"
    USER_CHANGED = "user_changed"
    USER_REMOVED = "user_removed"
    PASSWORD_CHANGED = "password_changed"
    SETTINGS_CHANGED = "settings_changed"
    KEY_CHANGED = "key_changed"
    PAID_JOB = "paid_job"
    IMAGE_HELD = "image_held"
    REQUEST_REFUSED = "request_refused"
    IMAGE_RELEASED = "image_released"
    APPEAL = "appeal"
    DATA_EXPORTED = "data_exported"
    DATA_DELETED = "data_deleted"


class AuditLog:
    """Appends to `audit.jsonl` in a folder; full files are numbered and kept. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Raises StorageFailed when the folder cannot be written."""
        self._path = folder / AUDIT_FILE
        with translate_os_errors("the audit log"):
            folder.mkdir(parents=True, exist_ok=True)
            self._handler = _PrivateFileHandler(
                self._path, maxBytes=_MAX_BYTES, backupCount=_BACKUP_COUNT, encoding="utf-8", delay=True
            )

    def record(self, event: AuditEvent, user: str, **facts: Any) -> None:
        """Note that `user` did or caused `event`; `facts` are short values without private texts."""
        entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event.value, "user": _shorten(user)}
        entry |= {name: _shorten(value) for name, value in facts.items()}
        line = json.dumps(entry, ensure_ascii=False, default=str)
        self._handler.handle(logging.LogRecord("studio.audit", logging.INFO, "", 0, line, None, None))

    def list_latest(self, limit: int, *, event: str = "", user: str = "") -> list[dict[str, Any]]:
        """The latest entries, newest first, of all files; those of `event` and `user` where they are given."""
        found: list[dict[str, Any]] = []
        for path in (self._path, *(self._path.with_name(f"{AUDIT_FILE}.{n}") for n in range(1, _BACKUP_COUNT + 1))):
            entries = collections.deque(_read_entries(path, event, user), maxlen=limit - len(found))
            found += reversed(entries)
            if len(found) >= limit:
                break
        return found

    def sweep(self, days: int) -> None:
        """As `Logs.sweep`."""
        sweep_log_files(self._handler, days)

    def close(self) -> None:
        """Let the file go."""
        self._handler.close()


class _PrivateFileHandler(logging.handlers.RotatingFileHandler):
    """Its files are for their owner's eyes only."""

    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")


def _read_entries(path: Path, event: str, user: str) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                entry = _parse_entry(line)
                if entry and (not event or entry.get("event") == event) and (not user or entry.get("user") == user):
                    yield entry
    except FileNotFoundError:
        return


def _parse_entry(line: str) -> dict[str, Any]:
    try:
        entry: Any = json.loads(line)
    except ValueError:  # a line that a crash cut off
        return {}
    return cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}


def _shorten(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)[:_MAX_VALUE_LENGTH]
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return {str(name): _shorten(each) for name, each in mapping.items()}
    return value

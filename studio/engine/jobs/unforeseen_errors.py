"""Errors that nobody foresaw: a number for the user, the traceback for the application log only."""

from __future__ import annotations

import logging
import secrets

from studio.core.errors import StudioError

_log = logging.getLogger(__name__)


def log_unexpected_error(error: BaseException) -> StudioError:
    """The error that is shown for `error`; the log gets its traceback under the same number."""
    entry = secrets.token_hex(4)
    _log.error("unexpected error, entry %s", entry, exc_info=error)
    return StudioError(
        f"Unexpected error (log entry {entry}).",
        hint="Try again. If it persists, look up the entry in the application log.",
        details={"log_entry": entry},
    )

"""What chat servers answer when something is wrong, as errors that say what to do."""

from __future__ import annotations

import contextlib
import json
from typing import Any, cast

from studio.core.errors import NotConfigured, ProviderError, RateLimited, StudioError

KEY_NAME = "CHAT_API_KEY"
CHECK_HINT = "Check chat_url and chat_model in Configurations."
_MAX_CHARS = 200  # of a server's own words


def make_status_error(status: int, said: str, key: str) -> StudioError:
    """The error of an answer with an HTTP `status` other than 200 and the text `said`, without `key` in it."""
    if key:
        said = said.replace(key, "…")
    if status in (401, 403):
        return NotConfigured("The chat server refuses the key.", hint=f"Set {KEY_NAME} to a valid key.")
    if status == 429:
        return RateLimited("The chat server has too many requests.", hint="Try again in a minute.")
    return ProviderError(f"The chat server answered with status {status}: {find_message(said)}", hint=CHECK_HINT)


def find_message(text: str) -> str:
    """What an error answer says, in one short line."""
    with contextlib.suppress(ValueError, RecursionError):
        data: Any = json.loads(text)
        error: Any = cast("dict[str, Any]", data).get("error") if isinstance(data, dict) else None
        message: Any = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else error
        if isinstance(message, str):
            text = message
    return " ".join(text.split())[:_MAX_CHARS]

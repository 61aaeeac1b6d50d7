"""Keys kept out of every text that is stored, logged or shown: those that the studio knows, and what looks like one."""

from __future__ import annotations

import re
import threading
from urllib.parse import quote

_STRUCK = "[redacted]"
_MIN_LENGTH = 6  # characters: a shorter key could be any word
_SECRET_PATTERN = re.compile(
    r"""(?ix)
    \b(?:(?:sk|pk|rk|hf|r8|fal|gsk|xai|bfl|gh[opsu]|github_pat|key)[-_]|AIza)[A-Za-z0-9_\-]{16,}
    | \b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{20,}
    | \b(?:bearer|basic|token|key)\s+(?=\S*\d)[A-Za-z0-9._~+/=\-]{12,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)
    | (?:api[-_]?key|authorization|password|passwd|secret|token)["']?\s*[=:]\s*["']?
      (?:(?:bearer|basic|token|key)\s+)?[^\s"',;&]{4,}
    """
)


class _KnownSecrets:
    """The keys that this process has used. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()

    def add(self, value: str) -> None:
        with self._lock:
            if value not in self._values:
                forms = {*self._values, value, quote(value, safe="")}
                self._values = tuple(sorted(forms, key=len, reverse=True))  # a key may be the beginning of another

    def strike(self, text: str) -> str:
        for value in self._values:
            if value in text:
                text = text.replace(value, _STRUCK)
        return text


_known = _KnownSecrets()


def remember_secret(value: str) -> None:
    """From now on `value` is struck out of every text that goes through `redact`; too short a one is passed over."""
    if len(value) >= _MIN_LENGTH:
        _known.add(value)


def redact(text: str) -> str:
    """`text` without the keys that are known, and without what looks like a key, a bearer token or a password."""
    return _SECRET_PATTERN.sub(_STRUCK, _known.strike(text))

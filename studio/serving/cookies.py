"""The login cookie: name, end and a random number, signed. Nothing about it is kept on the server but which were logged
out, in a file beside the users, so that they stay so when the studio starts again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.core.errors import NotConfigured, StorageFailed
from studio.core.user import User
from studio.serving.users import Users, write_private_file

COOKIE_NAME = "easel_session"
COOKIE_LIFETIME = 7 * 24 * 3600  # seconds
_MAX_REVOKED = 10_000  # logged-out cookies remembered

log = logging.getLogger(__name__)


class Cookies:
    """Issues and reads login cookies of `users`, signed with `secret`.

    A cookie ends after LIFETIME, when its user logs out, and when the user is removed or gets a new password.
    """

    def __init__(self, users: Users, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        """Raises NotConfigured when the file of logged-out cookies cannot be read."""
        if len(secret) < 32:
            raise ValueError("a signing key of at least 32 bytes is needed")
        self._users = users
        self._secret = secret
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = _read_ended(users.ended_file)

    def issue_cookie(self, user: User) -> str:
        """The value of a fresh cookie for `user`."""
        payload = f"{user.name}|{int(self._clock()) + COOKIE_LIFETIME}|{secrets.token_urlsafe(12)}"
        return f"{_encode(payload.encode())}.{_encode(self._sign_payload(payload, user.name))}"

    def read(self, value: str) -> User | None:
        """The user of the cookie, None when it is not one of ours or has expired."""
        payload = self._parse_payload(value)
        if payload is None:
            return None
        name, end, nonce = payload
        with self._lock:
            if nonce in self._ended:
                return None
        return self._users.get(name) if end > self._clock() else None

    def end(self, value: str) -> None:
        """Log this cookie out, for good also when the studio is started again."""
        payload = self._parse_payload(value)
        if payload is None:
            return
        now = self._clock()
        with self._lock:
            self._ended = {nonce: until for nonce, until in self._ended.items() if until > now}
            while len(self._ended) >= _MAX_REVOKED:
                del self._ended[next(iter(self._ended))]
            self._ended[payload[2]] = payload[1]
            try:
                write_private_file(self._users.ended_file, json.dumps(self._ended).encode())
            except StorageFailed as error:  # it is logged out all the same, until the studio is started again
                log.error("a logout is not on the disk: %s %s", error.message, error.hint)

    def _parse_payload(self, value: str) -> tuple[str, float, str] | None:
        try:
            encoded, signature = value.split(".")
            payload = _decode(encoded).decode()
            name, end, nonce = payload.split("|")
            if hmac.compare_digest(_decode(signature), self._sign_payload(payload, name)):
                return name, float(end), nonce
        except ValueError:
            pass
        return None

    def _sign_payload(self, payload: str, name: str) -> bytes:
        return hmac.digest(self._secret, payload.encode() + b"\0" + self._users.fingerprint(name), hashlib.sha256)


def _read_ended(file: Path) -> dict[str, float]:
    """The logged-out cookies and when each would have ended by itself."""
    try:
        data: Any = json.loads(file.read_bytes())
        return {str(nonce): float(until) for nonce, until in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NotConfigured(
            f"The list of logged-out sessions, {file.name}, cannot be read.",
            hint="Delete it together with the .key file beside it: then everybody logs in anew.",
        ) from error


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(raw) != text:  # one value has one spelling: spare bits and foreign characters are refused
        raise ValueError("not the one spelling of these bytes")
    return raw

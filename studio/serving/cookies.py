"""The login cookie: name, end and a random number, signed. Nothing about it is kept on the server but who logged
out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable

from studio.core.user import User
from studio.serving.users import Users

COOKIE_NAME = "easel_session"
COOKIE_LIFETIME = 7 * 24 * 3600  # seconds
_MAX_REVOKED = 10_000  # logged-out cookies remembered


class Cookies:
    """Issues and reads login cookies of `users`, signed with `secret`.

    A cookie ends after LIFETIME, when its user logs out, and when the user is removed or gets a new password.
    """

    def __init__(self, users: Users, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        if len(secret) < 32:
            raise ValueError("a signing key of at least 32 bytes is needed")
        self._users = users
        self._secret = secret
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: dict[str, float] = {}

    def issue_cookie(self, user: User) -> str:
        """The value of a fresh cookie for `user`."""
        payload = f"{user.name}|{int(self._clock()) + COOKIE_LIFETIME}|{secrets.token_urlsafe(12)}"
        return f"{_encode(payload.encode())}.{_encode(self._sign_payload(payload, user.name))}"

    def read(self, value: str) -> User | None:
        """Whose cookie this is, None when it is not one of ours or has ended."""
        payload = self._parse_payload(value)
        if payload is None:
            return None
        name, end, nonce = payload
        with self._lock:
            if nonce in self._ended:
                return None
        return self._users.get(name) if end > self._clock() else None

    def end(self, value: str) -> None:
        """Log this cookie out."""
        payload = self._parse_payload(value)
        if payload is None:
            return
        now = self._clock()
        with self._lock:
            self._ended = {nonce: until for nonce, until in self._ended.items() if until > now}
            while len(self._ended) >= _MAX_REVOKED:
                del self._ended[next(iter(self._ended))]
            self._ended[payload[2]] = payload[1]

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


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(raw) != text:  # one value has one spelling: spare bits and foreign letters are refused
        raise ValueError("not the one spelling of these bytes")
    return raw

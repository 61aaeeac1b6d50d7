"""The login cookie: name, end and a random number, signed. Which were logged out is kept in a file beside the users, so
that they stay so when the studio starts again; another file lists those that were issued, for showing them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starlette.types import Scope

from studio.core.errors import NotConfigured, NotFound, StorageFailed
from studio.core.user import GUEST_PREFIX, User
from studio.serving.users import write_private_file
from studio.serving.visitors import Accounts

COOKIE_NAME = "easel_session"
COOKIE_LIFETIME = 7 * 24 * 3600  # seconds
_MAX_REVOKED = 10_000  # logged-out cookies remembered
_MAX_SESSIONS = 5_000  # logins that are listed; older ones stay valid and are listed again when they are used
_MAX_CLIENT_LENGTH = 120  # characters of what a browser says of itself

log = logging.getLogger(__name__)


@dataclass
class Session:
    """One login. `client` is what the browser says of itself, "" for a login of an earlier version; times in seconds
    since the epoch. `password` changes with the user's password."""

    user: str
    begun: float
    ends: float
    seen: float
    password: str
    client: str = ""
    address: str = ""


class Cookies:
    """Issues and reads login cookies of `users`, signed with `secret`.

    A cookie ends after LIFETIME, when its user logs out, and when the user is removed or gets a new password.
    """

    def __init__(
        self, users: Accounts, secret: bytes, *, framed: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        """`framed` where other sites show the page in a frame. Raises NotConfigured when the file of logged-out cookies
        cannot be read."""
        if len(secret) < 32:
            raise ValueError("a signing key of at least 32 bytes is needed")
        self._users = users
        self._secret = secret
        self._framed = framed
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = _read_ended(users.ended_file)
        self._sessions = _read_sessions(users.sessions_file)

    def issue_cookie(self, user: User, client: str = "", address: str = "") -> str:
        """The value of a fresh cookie for `user`, who logs in with the browser `client` from `address`. Guests are not
        listed: there may be any number of them."""
        now, nonce = self._clock(), secrets.token_urlsafe(12)
        payload = f"{user.name}|{int(now) + COOKIE_LIFETIME}|{nonce}"
        if not user.name.startswith(GUEST_PREFIX):
            with self._lock:
                self._note_session(nonce, user.name, int(now) + COOKIE_LIFETIME, client[:_MAX_CLIENT_LENGTH], address)
                self._write_sessions()
        return f"{_encode(payload.encode())}.{_encode(self._sign_payload(payload, user.name))}"

    def list_sessions(self, user: str | None = None) -> dict[str, Session]:
        """The logins that are valid now by id, of `user` or of everybody; the last used first."""
        now = self._clock()
        with self._lock:
            found = {
                _get_session_id(nonce): session
                for nonce, session in self._sessions.items()
                if user in (None, session.user)
                and session.ends > now
                and nonce not in self._ended
                and self._users.get(session.user) is not None
                and session.password == self._get_password_mark(session.user)
            }
        return dict(sorted(found.items(), key=lambda each: -each[1].seen))

    def find_session_id(self, value: str) -> str:
        """The id of the login that this cookie belongs to, "" for none."""
        payload = self._parse_payload(value)
        return _get_session_id(payload[2]) if payload is not None else ""

    def end_session(self, session_id: str, user: str | None = None) -> str:
        """End the login of that id, one of `user` where it is given; returns whose it was.

        Raises:
            NotFound: there is none.
        """
        with self._lock:
            for nonce, session in self._sessions.items():
                if _get_session_id(nonce) == session_id and user in (None, session.user) and nonce not in self._ended:
                    self._end_nonce(nonce, session.ends)
                    return session.user
        raise NotFound("Session not found.", hint="It may have ended already.")

    def end_sessions(self, user: str, *, but: str = "") -> int:
        """End all listed logins of `user` but the one of the id `but`; returns how many."""
        ids = [session_id for session_id in self.list_sessions(user) if session_id != but]
        for session_id in ids:
            self.end_session(session_id)
        return len(ids)

    def format_header(self, value: str, scope: Scope, root: str) -> str:
        """The Set-Cookie header that gives `value` to the browser; "" takes it away."""
        max_age = COOKIE_LIFETIME if value else 0
        return format_cookie(COOKIE_NAME, value, scope, max_age=max_age, path=root or "/", framed=self._framed)

    def read(self, value: str) -> User | None:
        """The user of the cookie, None when it is not one of ours or has expired."""
        found = self._find_login(value)
        if found is None:
            return None
        user, name, end, nonce = found
        now = self._clock()
        with self._lock:
            if not name.startswith(GUEST_PREFIX):
                session = self._sessions.get(nonce) or self._note_session(nonce, name, end, "", "")
                session.seen = now
        return user

    def is_valid(self, value: str) -> bool:
        """Whether somebody is logged in with this cookie. Unlike `read` it is no use of it."""
        return self._find_login(value) is not None

    def _find_login(self, value: str) -> tuple[User, str, float, str] | None:
        """The user of the cookie and what it holds, while it is valid."""
        payload = self._parse_payload(value)
        user = self._users.get(payload[0]) if payload is not None and payload[1] > self._clock() else None
        if payload is None or user is None:
            return None
        with self._lock:
            return None if payload[2] in self._ended else (user, *payload)

    def end(self, value: str) -> None:
        """Log this cookie out, for good also when the studio is started again."""
        payload = self._parse_payload(value)
        if payload is None:
            return
        with self._lock:
            self._end_nonce(payload[2], payload[1])

    def _end_nonce(self, nonce: str, end: float) -> None:
        now = self._clock()
        self._ended = {each: until for each, until in self._ended.items() if until > now}
        while len(self._ended) >= _MAX_REVOKED:
            del self._ended[next(iter(self._ended))]
        self._ended[nonce] = end
        try:
            write_private_file(self._users.ended_file, json.dumps(self._ended).encode())
        except StorageFailed as error:  # it is logged out all the same, until the studio is started again
            log.error("a logout is not on the disk: %s %s", error.message, error.hint)

    def _note_session(self, nonce: str, user: str, end: float, client: str, address: str) -> Session:
        now = self._clock()
        if len(self._sessions) >= _MAX_SESSIONS:
            kept = sorted(self._sessions.items(), key=lambda each: each[1].seen)[_MAX_SESSIONS // 10 :]
            self._sessions = dict(kept)
        session = Session(user, now, end, now, self._get_password_mark(user), client, address)
        self._sessions[nonce] = session
        return session

    def _write_sessions(self) -> None:
        """A list that cannot be written is shown until the studio ends."""
        now = self._clock()
        self._sessions = {nonce: one for nonce, one in self._sessions.items() if one.ends > now}
        content = json.dumps({nonce: asdict(one) for nonce, one in self._sessions.items()})
        try:
            write_private_file(self._users.sessions_file, content.encode())
        except StorageFailed as error:
            log.error("the list of logins is not on the disk: %s %s", error.message, error.hint)

    def _get_password_mark(self, user: str) -> str:
        return self._users.fingerprint(user).hex()[:16]

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


def format_cookie(name: str, value: str, scope: Scope, *, max_age: int, path: str = "/", framed: bool = False) -> str:
    """The Set-Cookie header for `value`, which is made of letters that a cookie may have. `framed` is for a page that
    other sites show in a frame: over TLS its cookie says so, and browsers keep it apart for each such site. (Python's
    own cookies know that attribute from 3.14 on.)"""
    secure = scope["scheme"] == "https"
    site = "SameSite=None; Partitioned" if framed and secure else "SameSite=Lax"
    return f"{name}={value}; HttpOnly; Max-Age={max_age}; Path={path}; {site}" + ("; Secure" if secure else "")


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


def _read_sessions(file: Path) -> dict[str, Session]:
    """The logins that were made. They are only shown, so a file that cannot be read begins anew."""
    try:
        data: Mapping[str, Any] = json.loads(file.read_bytes())
        return {str(nonce): Session(**fields) for nonce, fields in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        log.warning("the list of logins cannot be read and begins anew: %s", error)
        return {}


def _get_session_id(nonce: str) -> str:
    """What a login is called by others than its cookie."""
    return hashlib.sha256(nonce.encode()).hexdigest()[:16]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(raw) != text:  # one value has one spelling: spare bits and foreign characters are refused
        raise ValueError("not the one spelling of these bytes")
    return raw

"""Who may hold a login cookie: the users of the file, those whom an OpenID provider vouches for, and guests."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import Protocol

from studio.core.rights import Right, Role
from studio.core.user import GUEST_PREFIX, OPENID_PREFIX, User
from studio.serving.throttle import Throttle
from studio.serving.users import Users

MAX_NEW_GUESTS = 20  # an hour, from one address
_GUEST_NAME = re.compile(re.escape(GUEST_PREFIX) + "[0-9a-f]{16}")
_OPENID_NAME = re.compile(re.escape(OPENID_PREFIX) + "[0-9a-f]{32}")


class Accounts(Protocol):
    """What logins know of users: `Users` and `Visitors` are some."""

    @property
    def secret_file(self) -> Path: ...

    @property
    def ended_file(self) -> Path: ...

    @property
    def sessions_file(self) -> Path: ...

    def verify_password(self, name: str, password: str) -> User | None: ...

    def get(self, name: str) -> User | None: ...

    def fingerprint(self, name: str) -> bytes: ...


class Visitors:
    """Guests, where they are let in, and users of an OpenID provider, beside the users of a file. Thread-safe.

    Neither has a password or is kept anywhere: a signed cookie says who they are. They spend no money.
    """

    def __init__(
        self, users: Users | None, folder: Path, *, guests: bool, administrators: frozenset[str] = frozenset()
    ) -> None:
        """`administrators` are the subjects, as the OpenID provider names them, that may change settings and spend;
        the key that signs cookies lies in `folder` where there is no file of users."""
        self._users = users
        self._folder = folder
        self._guests = guests
        self._administrators = frozenset(map(make_openid_name, administrators))
        self._new_guests = Throttle(limit=MAX_NEW_GUESTS, window=3600.0)

    @property
    def file(self) -> Users | None:
        """The users with passwords; None where there are none."""
        return self._users

    @property
    def secret_file(self) -> Path:
        return self._users.secret_file if self._users else self._folder / "visitors.key"

    @property
    def ended_file(self) -> Path:
        return self._users.ended_file if self._users else self._folder / "visitors.ended"

    @property
    def sessions_file(self) -> Path:
        return self._users.sessions_file if self._users else self._folder / "visitors.sessions"

    def verify_password(self, name: str, password: str) -> User | None:
        return self._users.verify_password(name, password) if self._users else None

    def get(self, name: str) -> User | None:
        known = self._users.get(name) if self._users else None
        if known is not None:
            return known
        if self._guests and _GUEST_NAME.fullmatch(name):
            return User(name, Role.GUEST)
        if _OPENID_NAME.fullmatch(name):
            if name in self._administrators:
                return User(name, Role.ADMINISTRATOR)
            return User(name).without(Right.SPEND)  # the money is the owner's
        return None

    def fingerprint(self, name: str) -> bytes:
        return self._users.fingerprint(name) if self._users else b""

    def admit_guest(self, address: str) -> tuple[User | None, float]:
        """(a new guest, 0), or (None, seconds to wait) where too many came from `address`; (None, 0) where no guests
        are let in."""
        if not self._guests:
            return None, 0.0
        wait = self._new_guests.begin(address)
        return (None, wait) if wait else (self.get(GUEST_PREFIX + secrets.token_hex(8)), 0.0)


def make_openid_name(subject: str) -> str:
    """The user name of a provider's subject, which stays the same when its owner is renamed."""
    return OPENID_PREFIX + hashlib.sha256(subject.encode()).hexdigest()[:32]

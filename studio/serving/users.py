"""Users who may log in: a private JSON file of names and argon2 hashes, made with `--add-user`."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import secrets
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotConfigured, StorageFailed
from studio.core.settings import Settings
from studio.core.user import User

DEFAULT_FILE = Path("users.json")
USER_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 1024  # characters; more is only work for the hash
SECRET_BYTES = 48


@dataclass(frozen=True)
class UserEntry:
    """One line of the file."""

    user: User
    hash: str


class Users:
    """The users of one file. The file is read again when it changed, so that a user can be added while the studio runs.

    All methods may be called from any thread. `verify` takes some 50 ms and 64 MiB by design.
    """

    def __init__(self, path: Path) -> None:
        """Read `path`.

        Raises:
            NotConfigured: no such file, not a users file, or nobody in it.
        """
        self._path = path
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_urlsafe())  # what an unknown name is checked against
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._entries: dict[str, UserEntry] = {}
        if not self._load_entries():
            raise NotConfigured(f"There is nobody in {path.name}.", hint=_ADD_USER_HINT)

    @property
    def secret_file(self) -> Path:
        """The file of the key that signs login cookies."""
        return self._path.with_name(self._path.name + ".key")

    @property
    def ended_file(self) -> Path:
        """The file of login cookies that were logged out before they expired."""
        return self._path.with_name(self._path.name + ".ended")

    def verify_password(self, name: str, password: str) -> User | None:
        """The user if the password is right, else None. An unknown name takes as long as a wrong password."""
        entry = self._load_entries().get(name)
        try:
            self._hasher.verify(entry.hash if entry else self._nobody, password[:MAX_PASSWORD_LENGTH])
        except (Argon2Error, InvalidHashError):
            return None
        return entry.user if entry else None

    def get(self, name: str) -> User | None:
        """The user of that name as the file says now."""
        entry = self._load_entries().get(name)
        return entry.user if entry else None

    def fingerprint(self, name: str) -> bytes:
        """Changes when the user's password does, so that old cookies end with it. Empty for an unknown name."""
        entry = self._load_entries().get(name)
        return hashlib.sha256(entry.hash.encode()).digest() if entry else b""

    def _load_entries(self) -> Mapping[str, UserEntry]:
        with self._lock:
            try:
                status = self._path.stat()
                stamp = (status.st_mtime_ns, status.st_size)
                if stamp != self._stamp:
                    self._entries, self._stamp = _read_users(self._path), stamp
            except OSError as error:
                raise NotConfigured(f"The users file {self._path.name} cannot be read.", hint=_ADD_USER_HINT) from error
            return self._entries


_ADD_USER_HINT = "Add a user with: python app.py --add-user NAME"


def add_user(settings: Settings, name: str, *, admin: bool = False) -> None:
    """Carry out `--add-user NAME`: ask for the password (one line of standard input when that is no terminal) and save
    it.

    Raises:
        InvalidRequest: a name or password that will not do. StorageFailed: the file cannot be written.
    """
    path = settings.auth_file or DEFAULT_FILE
    if sys.stdin.isatty():
        password = getpass.getpass(f"Password for {name}: ")
        if getpass.getpass("Once more: ") != password:
            raise InvalidRequest("The two passwords differ.", hint="Try again.")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    save_user(path, name, password, admin=admin)
    sys.stdout.write(f"{name} may log in now. Start the studio with --auth-file {path}\n")


def add_first_user(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Make the administrator that the environment names where there is no users file yet, as in a container that nobody
    can type into: EASEL_ADMIN, and EASEL_ADMIN_PASSWORD or the file EASEL_ADMIN_PASSWORD_FILE. Returns whether one was
    made.

    Raises:
        NotConfigured: the password is missing. InvalidRequest: a name or password that will not do.
        StorageFailed: the file cannot be written.
    """
    name, path = environment.get("EASEL_ADMIN", ""), settings.auth_file
    if not name or path is None or path.exists():
        return False
    password, file = environment.get("EASEL_ADMIN_PASSWORD", ""), environment.get("EASEL_ADMIN_PASSWORD_FILE", "")
    if file:
        try:
            password = Path(file).read_text(encoding="utf-8").strip("\r\n")
        except (OSError, ValueError) as error:
            raise NotConfigured(
                "The file that EASEL_ADMIN_PASSWORD_FILE names cannot be read.", hint="Check its path and its rights."
            ) from error
    if not password:
        raise NotConfigured(
            f"There is no password for the first user, {name}.",
            hint="Set EASEL_ADMIN_PASSWORD_FILE to a file with the password, or EASEL_ADMIN_PASSWORD.",
        )
    save_user(path, name, password, admin=True)
    return True


def save_user(path: Path, name: str, password: str, *, admin: bool = False) -> None:
    """Add a user to `path`, or give an existing one a new password; the file is made when missing, readable by its
    owner only.

    Raises:
        InvalidRequest: a name or password that will not do. StorageFailed: the file cannot be written.
    """
    if not USER_NAME_PATTERN.fullmatch(name):
        raise InvalidRequest(
            f"“{name[:64]}” cannot be a user name.",
            hint="Use up to 64 letters, digits and . _ @ -, beginning with a letter or digit.",
        )
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise InvalidRequest(
            "The password is too short or too long.",
            hint=f"Use {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters.",
        )
    entries = _read_users(path) if path.exists() else {}
    twin = next((known for known in entries if known.casefold() == name.casefold() and known != name), None)
    if twin:
        raise InvalidRequest(f"There is a user {twin} already.", hint="Two names may not differ by capitals only.")
    entries[name] = UserEntry(User(name, admin), PasswordHasher().hash(password))
    content = {
        "users": {entry.user.name: {"hash": entry.hash, "admin": entry.user.admin} for entry in entries.values()}
    }
    write_private_file(path, (json.dumps(content, indent=2) + "\n").encode())


def require_users(settings: Settings, users: Users | None) -> None:
    """Refuse to open the studio to others without a login.

    Raises:
        NotConfigured: the settings share the studio and there are no users.
    """
    if settings.is_shared and users is None:
        what = "A share link" if settings.share else f"Listening on {settings.host}"
        raise NotConfigured(
            f"{what} needs users.",
            hint="Add one with: python app.py --add-user NAME — and start again with --auth-file FILE.",
        )


def load_secret(path: Path) -> bytes:
    """The random key in `path`, made on first use, readable by its owner only.

    Raises:
        StorageFailed: it can be neither read nor written.
    """
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        secret = b""
    except OSError as error:
        raise StorageFailed(f"The key file {path.name} cannot be read.", hint="Check who owns it.") from error
    if len(secret) >= SECRET_BYTES:
        os.chmod(path, 0o600)
        return secret
    secret = secrets.token_bytes(SECRET_BYTES)
    write_private_file(path, secret)
    return secret


def write_private_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content` durably, with mode 600 from the first byte on.

    Raises:
        StorageFailed: the disk is full or may not be written.
    """
    with translate_os_errors(path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_synced(path, content, 0o600)


def _read_users(path: Path) -> dict[str, UserEntry]:
    """The entries of `path`. Raises NotConfigured when it is not a users file, OSError when it cannot be read."""
    try:
        data: Any = json.loads(path.read_bytes())
        return {
            name: UserEntry(User(name, bool(fields["admin"])), str(fields["hash"]))
            for name, fields in data["users"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotConfigured(f"{path.name} is not a users file.", hint=_ADD_USER_HINT) from error

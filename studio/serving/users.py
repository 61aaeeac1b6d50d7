"""Users who may log in: a private JSON file of names and argon2 hashes, made with `--add-user`."""

from __future__ import annotations

import dataclasses
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
from studio.core.errors import InvalidRequest, NotConfigured, NotFound, StorageFailed
from studio.core.rights import Role
from studio.core.settings import Settings
from studio.core.user import GUEST_PREFIX, OPENID_PREFIX, User

DEFAULT_FILE = Path("users.json")
USER_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 1024  # characters; more is only work for the hash
SECRET_BYTES = 48


@dataclass(frozen=True)
class UserEntry:
    """One line of the file. A `disabled` user cannot log in and keeps everything."""

    user: User
    hash: str
    disabled: bool = False


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
        self._writing = threading.Lock()
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

    @property
    def sessions_file(self) -> Path:
        """The file of the logins that were made, for showing them to their users."""
        return self._path.with_name(self._path.name + ".sessions")

    def verify_password(self, name: str, password: str) -> User | None:
        """The user if the password is right, else None. An unknown name takes as long as a wrong password."""
        entry = self._load_entries().get(name)
        try:
            self._hasher.verify(entry.hash if entry else self._nobody, password[:MAX_PASSWORD_LENGTH])
        except (Argon2Error, InvalidHashError):
            return None
        return entry.user if entry and not entry.disabled else None

    def get(self, name: str) -> User | None:
        """The user of that name as the file says now; None for one who is disabled."""
        entry = self._load_entries().get(name)
        return entry.user if entry and not entry.disabled else None

    def list_entries(self) -> list[UserEntry]:
        """All users by name, those who are disabled too."""
        return sorted(self._load_entries().values(), key=lambda entry: entry.user.name.casefold())

    def find_entry(self, name: str) -> UserEntry:
        """The entry of that name; raises NotFound."""
        entry = self._load_entries().get(name)
        if entry is None:
            raise NotFound("User not found.", hint="Names are written as they were added.")
        return entry

    def add(self, name: str, password: str, role: Role, limits: Mapping[str, Any]) -> UserEntry:
        """Add a user.

        Raises:
            InvalidRequest: a name, password or limit that will not do, or a name that is taken.
            StorageFailed: the file cannot be written.
        """
        with self._writing:
            entries = dict(self._load_entries())
            if name in entries:
                raise InvalidRequest(
                    f"There is a user {name} already.", hint="Change that one, or choose another name."
                )
            _check_new_name(entries, name)
            entries[name] = UserEntry(User(name, role, limits=check_limits(limits)), hash_password(password))
            self._write(entries)
            return entries[name]

    def change(
        self,
        name: str,
        *,
        password: str | None = None,
        role: Role | None = None,
        limits: Mapping[str, Any] | None = None,
        disabled: bool | None = None,
    ) -> UserEntry:
        """Change what is not None of a user. A new password ends all of the user's logins.

        Raises:
            NotFound: no such user. InvalidRequest: a value that will not do, or no administrator would be left.
            StorageFailed: the file cannot be written.
        """
        with self._writing:
            entry = self.find_entry(name)
            user = entry.user
            changed = UserEntry(
                dataclasses.replace(
                    user,
                    role=user.role if role is None else role,
                    limits=user.limits if limits is None else check_limits(limits),
                ),
                entry.hash if password is None else hash_password(password),
                entry.disabled if disabled is None else disabled,
            )
            self._write_with_administrator({**self._load_entries(), name: changed})
            return changed

    def remove(self, name: str) -> None:
        """Remove a user, whose files stay; raises as `change`."""
        with self._writing:
            self.find_entry(name)
            self._write_with_administrator({k: one for k, one in self._load_entries().items() if k != name})

    def _write_with_administrator(self, entries: Mapping[str, UserEntry]) -> None:
        before = any(_is_administrator(entry) for entry in self._load_entries().values())
        if before and not any(_is_administrator(entry) for entry in entries.values()):
            raise InvalidRequest(
                "This is the last administrator.", hint="Make another user an administrator first, then try again."
            )
        self._write(entries)

    def _write(self, entries: Mapping[str, UserEntry]) -> None:
        _write_users(self._path, entries)
        with self._lock:
            self._stamp = None

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


_ADD_USER_HINT = "Add a user with: python run.py --add-user NAME"


def add_user(settings: Settings, name: str, role: Role | None = None) -> None:
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
    save_user(path, name, password, role)
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
    save_user(path, name, password, Role.ADMINISTRATOR)
    return True


def save_user(path: Path, name: str, password: str, role: Role | None = None) -> None:
    """Add a user to `path`, a member unless `role` says otherwise, or give an existing one a new password and `role`;
    the file is made when missing, readable by its owner only.

    Raises:
        InvalidRequest: a name or password that will not do. StorageFailed: the file cannot be written.
    """
    entries = _read_users(path) if path.exists() else {}
    _check_new_name(entries, name)
    known = entries.get(name) or UserEntry(User(name), "")
    user = known.user if role is None else dataclasses.replace(known.user, role=role)
    _write_users(path, {**entries, name: UserEntry(user, hash_password(password), known.disabled)})


def check_limits(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """`values`, settings by name, as the limits of a user; None takes one away.

    Raises:
        InvalidRequest: not a setting that may differ between users, or a value that it cannot have.
    """
    known = [field.name for field in Settings.list_user_limits()]
    given = {name: value for name, value in values.items() if value is not None}
    foreign = sorted(given.keys() - set(known))
    if foreign:
        raise InvalidRequest(f"{foreign[0]!r} is no limit of a user.", hint="Limits: " + ", ".join(known) + ".")
    checked = Settings().apply_values(given)
    return tuple((name, getattr(checked, name)) for name in known if name in given)


def hash_password(password: str) -> str:
    """The argon2id hash of a new password.

    Raises:
        InvalidRequest: it is too short or too long.
    """
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise InvalidRequest(
            "The password is too short or too long.",
            hint=f"Use {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters.",
        )
    return PasswordHasher().hash(password)


def _check_new_name(entries: Mapping[str, UserEntry], name: str) -> None:
    if not USER_NAME_PATTERN.fullmatch(name):
        raise InvalidRequest(
            f"“{name[:64]}” cannot be a user name.",
            hint="Use up to 64 letters, digits and . _ @ -, beginning with a letter or digit.",
        )
    if name not in entries and name.startswith((GUEST_PREFIX, OPENID_PREFIX)):
        raise InvalidRequest(
            f"“{name[:64]}” is a name of visitors, whose images are removed.", hint="Choose another name."
        )
    twin = next((known for known in entries if known.casefold() == name.casefold() and known != name), None)
    if twin:
        raise InvalidRequest(f"There is a user {twin} already.", hint="Two names may not differ by capitals only.")


def _is_administrator(entry: UserEntry) -> bool:
    return entry.user.role is Role.ADMINISTRATOR and not entry.disabled


def require_users(settings: Settings, users: object | None) -> None:
    """Refuse to open the studio to others without a login.

    Raises:
        NotConfigured: the settings share the studio and there are no users.
    """
    if settings.is_shared and users is None:
        what = "A share link" if settings.share else f"Listening on {settings.host}"
        raise NotConfigured(
            f"{what} needs users.",
            hint="Add one with: python run.py --add-user NAME — and start again with --auth-file FILE.",
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
        return {name: _read_entry(name, fields) for name, fields in data["users"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotConfigured(f"{path.name} is not a users file.", hint=_ADD_USER_HINT) from error


def _read_entry(name: str, fields: Mapping[str, Any]) -> UserEntry:
    """An entry of this version or of the first, which knew administrators and others. What another version may have
    written gives the fewest rights, and limits that are no more are left out."""
    if "role" in fields:
        role = Role(fields["role"]) if fields["role"] in list(Role) else Role.GUEST
    else:
        role = Role.ADMINISTRATOR if fields["admin"] else Role.MEMBER
    known = {field.name for field in Settings.list_user_limits()}
    limits = {each: value for each, value in fields.get("limits", {}).items() if each in known}
    try:
        checked = check_limits(limits)
    except InvalidRequest as error:
        raise ValueError(error.message) from error
    return UserEntry(User(name, role, limits=checked), str(fields["hash"]), bool(fields.get("disabled")))


def _write_users(path: Path, entries: Mapping[str, UserEntry]) -> None:
    content = {"users": {name: _describe_entry(entry) for name, entry in entries.items()}}
    write_private_file(path, (json.dumps(content, indent=2) + "\n").encode())


def _describe_entry(entry: UserEntry) -> dict[str, Any]:
    said: dict[str, Any] = {"hash": entry.hash, "role": entry.user.role.value}
    if entry.user.limits:
        said["limits"] = dict(entry.user.limits)
    if entry.disabled:
        said["disabled"] = True
    return said

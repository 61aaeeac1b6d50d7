"""API keys: from the environment, from the system's keyring, or from a private file that only this user may read. A key
leaves here to a provider for the moment of a call, and to nobody else; everybody else learns whether it is set, and its
last four characters."""

from __future__ import annotations

import json
import logging
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotConfigured
from studio.core.secrets_filter import remember_secret
from studio.engine.money.system_keyring import SystemKeyring

_MAX_KEY_LENGTH = 4096  # characters of a key
_SHOWN_CHARACTERS = 4
_KEYRING_MARKER = "@keyring"  # stands in the file for a key that the keyring has: it is not asked for others

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeyState:
    """The state of a key, without the key. `where` is "environment", "keyring", "file" or "" when it is not set; `ends`
    its last characters."""

    name: str
    where: str = ""
    ends: str = ""


class KeyStore:
    """The keys of one studio, by the names of their environment variables. Thread-safe."""

    def __init__(self, file: Path, environment: Mapping[str, str], vault: SystemKeyring | None = None) -> None:
        """`file` is made with mode 600 when the first key is set; its folder must be writable then. `vault` is tried
        before it."""
        self._file = file
        self._vault = vault
        self._environment = environment
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"KeyStore({self._file.name})"

    def get(self, name: str) -> str:
        """The key.

        Raises:
            NotConfigured: it is not set; the hint says where to set it.
        """
        _, found = self._find_key(name)
        if not found:
            raise NotConfigured(
                f"{name} is not set.", hint=f"Set {name} in the environment, or enter the key in Configurations."
            )
        return found

    def find(self, name: str) -> str:
        """The key, "" where it is not set."""
        return self._find_key(name)[1]

    def get_state(self, name: str) -> KeyState:
        """Whether the key is set, without the key."""
        where, value = self._find_key(name)
        ends = (
            value[-_SHOWN_CHARACTERS:] if len(value) >= 4 * _SHOWN_CHARACTERS else ""
        )  # of a short key the end says too much
        return KeyState(name=name, where=where, ends=ends)

    def is_set(self, *names: str) -> bool:
        """Whether one of `names` is set."""
        return any(self.get_state(name).where for name in names)

    def set(self, name: str, value: str) -> None:
        """Keep a key in the keyring, or in the file where there is none.

        Raises:
            InvalidRequest: no key of anybody. StorageFailed: the file cannot be written.
        """
        value = value.strip()
        if not value or len(value) > _MAX_KEY_LENGTH or not value.isprintable() or " " in value:
            raise InvalidRequest("Invalid API key.", hint="Copy the key from the provider's page, without line breaks.")
        kept = self._vault is not None and self._vault.keep(name, value)
        self._write({name: _KEYRING_MARKER if kept else value})

    def remove(self, name: str) -> None:
        """Forget the key in the keyring and the file; one in the environment stays."""
        if self._vault is not None and self._read().get(name) == _KEYRING_MARKER:
            self._vault.drop(name)
        self._write({name: None})

    def list_secrets(self, names: Sequence[str]) -> tuple[str, ...]:
        """The values that are set among `names`, for whoever has to keep them out of a text."""
        values = [self._environment.get(name, "").strip() for name in names] + [
            self._read_stored_key(name) for name in names
        ]
        return tuple(value for value in values if value)

    def _find_key(self, name: str) -> tuple[str, str]:
        """The place of the key, as in KeyState, and the key."""
        if value := self._environment.get(name, "").strip():
            remember_secret(value)
            return "environment", value
        value = self._read_stored_key(name)
        remember_secret(value)
        where = "keyring" if self._read().get(name) == _KEYRING_MARKER else "file"
        return (where, value) if value else ("", "")

    def _read_stored_key(self, name: str) -> str:
        value = self._read().get(name, "")
        if value != _KEYRING_MARKER:
            return value
        return self._vault.get(name) if self._vault is not None else ""

    def _read(self) -> dict[str, str]:
        with self._lock:
            return self._read_file()

    def _read_file(self) -> dict[str, str]:
        try:
            if self._file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                _log.warning("others could read the file of API keys; it is private again")
                self._file.chmod(0o600)
            data: Any = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            _log.warning("the file of API keys cannot be read")  # never its content
            return {}
        items = cast("dict[Any, Any]", data).items() if isinstance(data, dict) else ()
        return {name: value for name, value in items if isinstance(name, str) and isinstance(value, str)}

    def _write(self, changes: Mapping[str, str | None]) -> None:
        with self._lock, translate_os_errors("the key"):
            kept = {name: value for name, value in {**self._read_file(), **changes}.items() if value is not None}
            self._file.parent.mkdir(parents=True, exist_ok=True)
            replace_synced(self._file, json.dumps(kept, indent=1).encode(), 0o600)

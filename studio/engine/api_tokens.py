"""Bearer tokens with which programs call the studio's APIs for a user. Only their hashes are kept, in a private file; a
token itself is shown once, when it is made."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotFound
from studio.core.rights import Right
from studio.core.text_checks import check_name

TOKEN_PREFIX = "easel_"
MAX_TOKENS = 50  # tokens of one user
MAX_TOKEN_NAME_LENGTH = 60  # characters
_SECRET_BYTES = 32
_MAX_HEADER_LENGTH = 200  # characters of what is hashed; a token has fewer

_log = logging.getLogger(__name__)


class TokenScope(StrEnum):
    """What a token allows; each allows what those before it do."""

    READ = "read"  # look at models, jobs and images
    GENERATE = "generate"  # make images with models that cost nothing
    ORGANIZE = "organize"  # change and trash images, and change or delete collections, recipes and the like
    SPEND = "spend"  # use models that cost money too, within the user's budget


SCOPE_RIGHTS = {
    TokenScope.READ: frozenset({Right.USE}),
    TokenScope.GENERATE: frozenset({Right.USE, Right.GENERATE}),
    TokenScope.ORGANIZE: frozenset({Right.USE, Right.GENERATE, Right.ORGANIZE}),
    TokenScope.SPEND: frozenset({Right.USE, Right.GENERATE, Right.ORGANIZE, Right.SPEND, Right.DELETE}),
}


@dataclass(frozen=True, kw_only=True)
class ApiToken:
    """What is known of a token. `created` in seconds since the epoch; `digest` is the SHA-256 of the token, in hex."""

    id: str
    user: str
    name: str
    scope: TokenScope
    created: float
    digest: str


class ApiTokens:
    """The tokens of all users. Thread-safe; the file is read once and written at each change."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        """`file` is made with mode 600 when the first token is made."""
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[str, ApiToken] | None = None

    def list_tokens(self, user: str) -> list[ApiToken]:
        """The user's tokens, the oldest first."""
        with self._lock:
            return sorted((one for one in self._read().values() if one.user == user), key=lambda one: one.created)

    def create(self, user: str, name: str, scope: TokenScope) -> str:
        """Make a token of that name for `user` and give it; it cannot be shown again.

        Raises:
            InvalidRequest: no name, or too many tokens. StorageFailed: the file cannot be written.
        """
        name = check_name(" ".join(name.split())[:MAX_TOKEN_NAME_LENGTH], "The name of the token")
        if not name:
            raise InvalidRequest("The token needs a name.", hint="Enter the name of the program that will use it.")
        secret = TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        token = ApiToken(
            id=secrets.token_hex(4), user=user, name=name, scope=scope, created=self._clock(), digest=_hash(secret)
        )
        with self._lock:
            tokens = dict(self._read())
            if sum(one.user == user for one in tokens.values()) >= MAX_TOKENS:
                raise InvalidRequest(f"The limit of {MAX_TOKENS} tokens is reached.", hint="Revoke one first.")
            self._write({**tokens, token.digest: token})
        return secret

    def revoke(self, user: str, token_id: str) -> None:
        """End one of the user's tokens at once.

        Raises:
            NotFound: the user has no such token. StorageFailed: the file cannot be written.
        """
        with self._lock:
            tokens = self._read()
            kept = {digest: one for digest, one in tokens.items() if (one.id, one.user) != (token_id, user)}
            if len(kept) == len(tokens):
                raise NotFound("Token not found.", hint="It may have been revoked already.")
            self._write(kept)

    def revoke_all(self, user: str) -> int:
        """End all tokens of `user`; returns how many. Raises StorageFailed: the file cannot be written."""
        with self._lock:
            tokens = self._read()
            kept = {digest: one for digest, one in tokens.items() if one.user != user}
            if len(kept) < len(tokens):
                self._write(kept)
            return len(tokens) - len(kept)

    def find(self, secret: str) -> ApiToken | None:
        """The token that `secret` is, None when it is none of ours."""
        if not secret.startswith(TOKEN_PREFIX) or len(secret) > _MAX_HEADER_LENGTH:
            return None
        with self._lock:
            return self._read().get(_hash(secret))

    def _read(self) -> dict[str, ApiToken]:
        if self._tokens is None:
            self._tokens = {token.digest: token for token in _load_tokens(self._file)}
        return self._tokens

    def _write(self, tokens: dict[str, ApiToken]) -> None:
        content = json.dumps([asdict(token) for token in tokens.values()], indent=1).encode()
        with translate_os_errors("the token"):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            replace_synced(self._file, content, 0o600)
        self._tokens = tokens


def _hash(secret: str) -> str:
    """256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _load_tokens(file: Path) -> list[ApiToken]:
    try:
        entries: Any = json.loads(file.read_bytes())
        return [
            ApiToken(scope=TokenScope(entry.pop("scope")), **entry) for entry in cast("list[dict[str, Any]]", entries)
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError):
        _log.warning("the file of API tokens cannot be read; no token is accepted")
        return []

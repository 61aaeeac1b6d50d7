"""Logging in with an OpenID provider: authorization code with PKCE, and an ID token that is checked in full.

The provider is asked at the one origin that is configured; its answers are small, come soon, and lead nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from studio.core.errors import Forbidden, NotConfigured, ProviderError, Unreachable

PENDING_SECONDS = 600.0  # that a login may take at the provider
MAX_ANSWER = 256 * 1024  # bytes
_TIMEOUT = 10.0  # seconds
_KEYS_LIFETIME = 3600.0  # seconds
_MAX_PENDING = 10_000
_MAX_TARGET = 2000  # characters of where a user wanted to go
_LEEWAY = 60  # seconds that clocks may differ
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_AGAIN = "Log in once more."


@dataclass(frozen=True, kw_only=True)
class OpenIdSettings:
    """`provider` is the issuer's address, `title` what the button calls it, `administrators` the subjects that get an
    administrator's rights."""

    provider: str
    client_id: str
    client_secret: str
    title: str = "OpenID"
    administrators: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Raises NotConfigured for an address that is none."""
        parts = urlsplit(self.provider)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        if not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and local))):
            raise NotConfigured("The OpenID provider's address is not one of https.", hint="Correct its address.")


@dataclass(frozen=True)
class PendingLogin:
    """One login that is under way at the provider."""

    nonce: str
    verifier: str
    redirect_uri: str
    target: str
    begun: float


class OpenIdClient:
    """Logs users in at one provider. Thread-safe; what talks to the provider blocks for seconds."""

    def __init__(self, settings: OpenIdSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: OrderedDict[str, PendingLogin] = OrderedDict()
        self._facts: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, list[Mapping[str, Any]]] | None = None

    def begin(self, redirect_uri: str, target: str) -> tuple[str, str]:
        """(the address at the provider, the state that the browser has to come back with).

        Raises:
            Unreachable, ProviderError: the provider does not answer as one.
        """
        endpoint = self._get_endpoint("authorization_endpoint")
        target = target if len(target) <= _MAX_TARGET else "/"
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        with self._lock:
            self._pending[state] = PendingLogin(nonce, verifier, redirect_uri, target, self._clock())
            while len(self._pending) > _MAX_PENDING:
                self._pending.popitem(last=False)
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", state

    def finish(self, state: str, held: str, code: str) -> tuple[str, str]:
        """(the subject that logged in, where it wanted to go). `state` came with the request, `held` is what the
        browser kept: both have to be those of one login that `begin` began. Each counts once.

        Raises:
            Forbidden: it is not a login that was begun here, or its token is not right. Unreachable, ProviderError:
                the provider does not answer as one.
        """
        with self._lock:
            pending = self._pending.pop(state, None)
        fresh = pending is not None and self._clock() - pending.begun <= PENDING_SECONDS
        if pending is None or not fresh or not hmac.compare_digest(state.encode(), held.encode()):
            raise Forbidden("This login was not begun here, or too long ago.", hint=_AGAIN)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": pending.redirect_uri,
            "code_verifier": pending.verifier,
            "client_id": self.settings.client_id,
        }
        answer = self._ask(self._get_endpoint("token_endpoint"), form)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderError(f"{self.settings.title} gave no ID token.", hint=_AGAIN)
        return self._check_token(token, pending.nonce), pending.target

    def _check_token(self, token: str, nonce: str) -> str:
        """The subject of an ID token that is signed by the provider, meant for us, now, and for this very login."""
        import jwt

        try:
            key = self._find_key(jwt.get_unverified_header(token))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                audience=self.settings.client_id,
                issuer=self._get_facts()["issuer"],
                leeway=_LEEWAY,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            raise Forbidden(f"The token of {self.settings.title} is not right.", hint=_AGAIN) from error
        given, subject = claims.get("nonce"), claims["sub"]
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise Forbidden(f"The token of {self.settings.title} belongs to another login.", hint=_AGAIN)
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", "" if several else self.settings.client_id) != self.settings.client_id:
            raise Forbidden(f"The token of {self.settings.title} is for another program.", hint=_AGAIN)
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise Forbidden(f"The token of {self.settings.title} names nobody.", hint=_AGAIN)
        return subject

    def _find_key(self, header: Mapping[str, Any]) -> Any:
        """The provider's key that the token says it is signed with. An unknown one lets the keys be fetched again, at
        most once a minute, for providers change them."""
        import jwt

        if header.get("alg") not in _ALGORITHMS:
            raise ValueError("no algorithm with a public key")
        for fetched in (False, True):
            keys = [one for one in self._get_keys(again=fetched) if one.get("use", "sig") == "sig"]
            for one in keys:
                if one.get("kid") == header.get("kid") and one.get("kty") != "oct":
                    return jwt.PyJWK(dict(one), algorithm=header["alg"])
        raise ValueError("no such key")

    def _get_keys(self, *, again: bool) -> list[Mapping[str, Any]]:
        now = self._clock()
        known = self._keys
        if known is not None and now - known[0] < (60.0 if again else _KEYS_LIFETIME):
            return known[1]
        found = self._ask(self._get_endpoint("jwks_uri")).get("keys")
        keys: list[Mapping[str, Any]] = (
            [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        )
        self._keys = now, keys
        return keys

    def _get_endpoint(self, name: str) -> str:
        """An address that the provider's own description names, at the provider's own origin."""
        address = self._get_facts().get(name)
        if not isinstance(address, str) or _get_origin(address) != _get_origin(self.settings.provider):
            raise ProviderError(
                f"The description of {self.settings.title} names no {name} of its own.", hint="Tell its administrator."
            )
        return address

    def _get_facts(self) -> Mapping[str, Any]:
        now = self._clock()
        if self._facts is None or now - self._facts[0] > _KEYS_LIFETIME:
            base = self.settings.provider.rstrip("/")
            facts = self._ask(f"{base}/.well-known/openid-configuration")
            if str(facts.get("issuer", "")).rstrip("/") != base:
                raise ProviderError(
                    f"{self.settings.title} calls itself by another name than configured.",
                    hint="Correct the address of the provider.",
                )
            self._facts = now, facts
        return self._facts[1]

    def _ask(self, address: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at an address of the provider: POST with `form` and the client's secret, else GET."""
        import httpx

        title = self.settings.title
        deadline = time.monotonic() + _TIMEOUT
        body = bytearray()
        auth = (self.settings.client_id, self.settings.client_secret) if form is not None else None
        try:
            with (
                httpx.Client(timeout=_TIMEOUT, follow_redirects=False) as client,
                client.stream(
                    "GET" if form is None else "POST",
                    address,
                    data=form,
                    auth=auth,
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                ) as answer,
            ):
                for piece in answer.iter_raw(8192):
                    body += piece
                    if len(body) > MAX_ANSWER or time.monotonic() > deadline:
                        raise ProviderError(f"The answer of {title} is too long or too slow.", hint=_AGAIN)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{title} does not answer.", hint="Try again in a minute.") from error
        if answer.status_code != 200:
            raise ProviderError(f"{title} refused ({answer.status_code}).", hint=_AGAIN)
        try:
            found: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ProviderError(f"The answer of {title} is no JSON.", hint=_AGAIN) from error
        if not isinstance(found, dict):
            raise ProviderError(f"The answer of {title} is no JSON object.", hint=_AGAIN)
        return found


def _get_origin(address: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(address)
        return parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        return "", "", None

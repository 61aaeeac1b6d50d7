"""Which host names are ours, and which origins may call: what the guard compares requests with."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from urllib.parse import urlsplit

from studio.core.settings import Settings


def split_names(text: str) -> tuple[str, ...]:
    """The entries of a comma-separated setting."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


class Hosts:
    """The host names that this server answers to. A share link adds its own once it is known."""

    def __init__(self, settings: Settings) -> None:
        names = {"localhost", "127.0.0.1", "::1", *split_names(settings.allowed_hosts)}
        if settings.host not in ("0.0.0.0", "::", ""):
            names.add(settings.host)
        self._lock = threading.Lock()
        self._names = frozenset(name.lower().strip("[]") for name in names)
        self._share = ""

    def add_share(self, host: str) -> None:
        """Answer to `host` too, which reaches us through the share tunnel."""
        with self._lock:
            self._share = host.lower()
            self._names |= {self._share}

    def is_share(self, host: str) -> bool:
        """Whether the Host header `host` is the share link's."""
        return bool(self._share) and _parse_host_name(host) == self._share

    def __contains__(self, host: object) -> bool:
        name = _parse_host_name(host) if isinstance(host, str) else ""
        return bool(name) and (
            name in self._names or any(known.startswith("*.") and name.endswith(known[1:]) for known in self._names)
        )


def normalize_origins(origins: Iterable[str]) -> tuple[str, ...]:
    """Origins as the CORS rules compare them."""
    return tuple(normalize_origin(origin) for origin in origins)


def _parse_host_name(host: str) -> str:
    """The name in a Host header, lower case, without port and brackets; empty when it is malformed."""
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)\.?(:\d{1,5})?", host.lower())
    return match[1].strip("[]").rstrip(".") if match else ""


def normalize_origin(origin: str) -> str:
    """The origin as it is compared."""
    return origin.strip().rstrip("/").lower()


def is_same_origin(origin: str, host: str) -> bool:
    """Whether `origin` is the site that `host` names. A TLS proxy changes the scheme, so it is not compared."""
    try:
        parts = urlsplit(origin)
        default = {"http": 80, "https": 443}[parts.scheme]
        asked = urlsplit("//" + host)
        return (parts.hostname, parts.port or default) == (asked.hostname, asked.port or default)
    except (KeyError, ValueError):
        return False

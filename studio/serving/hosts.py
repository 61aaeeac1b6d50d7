"""Allowed host names and origins, and trusted proxies, by which the guard checks requests."""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Iterable
from urllib.parse import urlsplit

from studio.core.errors import NotConfigured
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


class TrustedProxies:
    """The proxies that may name the caller of a request. Without a list of proxies nobody may, or everybody who reaches
    the port where a path prefix shows that there is a proxy."""

    def __init__(self, settings: Settings) -> None:
        """Raises NotConfigured for what is neither an address nor a network."""
        self._networks = [_parse_network(text) for text in split_names(settings.trusted_proxies)]
        self._anybody = bool(settings.root_path.strip("/")) and not self._networks

    def trusts(self, address: str) -> bool:
        """Whether the headers of a request from `address` are believed."""
        return self._anybody or self._is_listed(address)

    def find_client(self, forwarded: str) -> str:
        """The caller's address, by an X-Forwarded-For header of a trusted proxy: the last entry that is no proxy of
        ours, for those before it are whatever the caller wrote. Empty where there is none."""
        entries = [entry.strip() for entry in forwarded.split(",") if entry.strip()]
        return next((entry for entry in reversed(entries) if not self._is_listed(entry)), "")

    def _is_listed(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._networks)


def _parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError as error:
        raise NotConfigured(
            f"The trusted proxy {text[:60]!r} is no address.", hint="Write 127.0.0.1 or 10.0.0.0/8, for example."
        ) from error


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
        requested = urlsplit("//" + host)
        return (parts.hostname, parts.port or default) == (requested.hostname, requested.port or default)
    except (KeyError, ValueError):
        return False

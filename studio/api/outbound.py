"""Calls to addresses that a request names: to hosts that the settings list, and to no others."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import httpx

from studio.core.errors import BadImage, InvalidRequest, Unreachable
from studio.core.settings import Settings

_FETCH_SECONDS = 30.0


def fetch_image(address: str, settings: Settings) -> bytes:
    """The file at an address that a request names, from hosts that the settings list only.

    Redirects are not followed, and a name that leads to this machine or its network is refused unless it is listed as
    an address itself.

    Raises:
        InvalidRequest: no address, or a host that is not listed. Unreachable: it does not answer. BadImage: too large.
    """
    check_outbound_address(address, settings.image_hosts, "image_hosts")
    limit = settings.max_upload_mb * 1024 * 1024
    try:
        with httpx.stream("GET", address, timeout=_FETCH_SECONDS, follow_redirects=False, trust_env=False) as answer:
            if answer.status_code != 200:
                raise BadImage("Invalid image url", hint=f"The host answered with {answer.status_code}.")
            parts: list[bytes] = []
            size = 0
            for part in answer.iter_bytes():
                size += len(part)
                if size > limit:
                    raise BadImage("The image at that address is too large.", hint="Send a smaller file.")
                parts.append(part)
    except httpx.HTTPError as error:
        raise Unreachable("The host of the image does not respond.", hint="Send the file in base64.") from error
    return b"".join(parts)


def check_outbound_address(address: str, listed: str, setting: str) -> None:
    """Refuse an address that nothing may be sent to: hosts are `listed`, separated by commas, with their port where it
    is not that of the scheme.

    Raises:
        InvalidRequest: the message says why, the hint which setting lists hosts.
    """
    hint = f"Hosts are listed in the setting {setting}."
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest("That is not an address.", hint=hint) from error
    host = (parts.hostname or "").lower()
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise InvalidRequest("Only plain http and https addresses can be used.", hint=hint)
    names = {name.strip().lower() for name in listed.split(",") if name.strip()}
    usual = port in (None, {"http": 80, "https": 443}[parts.scheme])
    if not ({f"{host}:{port}"} & names or (usual and host in names)):
        raise InvalidRequest(f"Requests to {host[:100]} are not allowed.", hint=hint)
    if _is_private(host) and not _is_literal(host) and host != "localhost":
        raise InvalidRequest(f"{host[:100]} leads to a private address.", hint="List the address itself to allow it.")


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_private(host: str) -> bool:
    """Whether any address that `host` has is not a public one."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False  # the request itself will say that it cannot be found
    return any(not ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_global for entry in found)

"""Calls to addresses that a request names: to hosts that the settings list, and to no others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Mapping

import httpcore
import httpx

from studio.api.outbound_network import CheckedNetwork, find_addresses
from studio.core.errors import BadImage, InvalidRequest, QueueFull, Unreachable
from studio.core.settings import Settings

FETCH_SECONDS = 30.0  # for a whole image
MAX_FETCHES = 8  # at once; each holds one of the threads that all requests share
FAILURES = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)  # of `open_outbound`
_fetching = threading.BoundedSemaphore(MAX_FETCHES)
_USUAL_PORTS = {"http": 80, "https": 443}


def fetch_image(address: str, settings: Settings, seconds: float = FETCH_SECONDS) -> bytes:
    """The file at an address that a request names, from hosts that the settings list only, within `seconds`.

    Redirects are not followed, and a name that leads to this machine or its network is refused unless it is listed as
    an address itself.

    Raises:
        InvalidRequest: no address, or a host that is not listed. Unreachable: it does not answer in time.
        BadImage: too large. QueueFull: too many are being fetched.
    """
    check_outbound_address(address, settings.image_hosts, "image_hosts")
    if not _fetching.acquire(blocking=False):
        raise QueueFull("Too many images are being fetched at once.", hint="Try again, or send the file in base64.")
    try:
        return _fetch(address, settings, seconds)
    finally:
        _fetching.release()


def _fetch(address: str, settings: Settings, seconds: float) -> bytes:
    limit = settings.max_upload_mb * 1024 * 1024
    try:
        with open_outbound("GET", address, seconds=seconds) as answer:
            if answer.status != 200:
                raise BadImage("Invalid image url", hint=f"The host answered with {answer.status}.")
            parts: list[bytes] = []
            size = 0
            for part in answer.iter_stream():
                size += len(part)
                if size > limit:
                    raise BadImage("The image at that address is too large.", hint="Send a smaller file.")
                parts.append(part)
    except FAILURES as error:
        raise Unreachable("The host of the image does not respond.", hint="Send the file in base64.") from error
    return b"".join(parts)


@contextlib.contextmanager
def open_outbound(
    method: str, address: str, *, seconds: float, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Generator[httpcore.Response]:
    """The answer of an address that `check_outbound_address` let pass, its body not read yet. Connection, answer and
    reading end after `seconds` in all; redirects and the proxies of the environment are not followed.

    Raises:
        InvalidRequest: the host leads to a private address. One of FAILURES.
    """
    url = httpx.URL(address)
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    sent = {"Host": url.netloc, "Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})}
    network = CheckedNetwork(seconds)
    trusted = httpx.create_ssl_context() if url.scheme == "https" else None
    with (
        httpcore.ConnectionPool(ssl_context=trusted, network_backend=network) as pool,
        pool.stream(method, target, headers=list(sent.items()), content=body or None) as answer,
    ):
        yield answer


def check_outbound_address(address: str, listed: str, setting: str) -> None:
    """Refuse an address that nothing may be sent to: hosts are `listed`, separated by commas, with their port where it
    is not that of the scheme.

    Raises:
        InvalidRequest: the message says why, the hint which setting lists hosts.
    """
    hint = f"Hosts are listed in the setting {setting}."
    try:
        url = httpx.URL(address)  # as `open_outbound` reads it, so that both mean the same host
    except httpx.InvalidURL as error:
        raise InvalidRequest("That is not an address.", hint=hint) from error
    if url.scheme not in _USUAL_PORTS or not url.host or url.userinfo:
        raise InvalidRequest("Only plain http and https addresses can be used.", hint=hint)
    port = url.port or _USUAL_PORTS[url.scheme]
    names = {name.strip().lower() for name in listed.split(",") if name.strip()}
    hosts = {url.host, url.raw_host.decode("ascii")}
    spelled: set[str] = {f"{host}:{port}" for host in hosts}
    if url.port is None:
        spelled |= hosts
    if not spelled & names or port > 65_535:
        raise InvalidRequest(f"Requests to {url.host[:100]} are not allowed.", hint=hint)
    find_addresses(url.raw_host.decode("ascii"))

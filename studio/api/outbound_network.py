"""Connections to addresses that a request names. A host's name is looked up once, and what was looked up is checked and
connected to, so that a name cannot lead somewhere else a moment later; all that happens on one has a common end."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from studio.core.errors import InvalidRequest

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PIECE = 16 * 1024  # bytes that are written before the time is looked at again

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class CheckedNetwork(httpcore.NetworkBackend):
    """Connects by TCP to public addresses, and to private ones only where the host is such an address itself, or
    localhost. After `seconds` from its making every connection ends with `httpcore.TimeoutException`."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """The first of the host's addresses that answers.

        Raises:
            InvalidRequest: an address of the host is private. httpcore.ConnectError, httpcore.ConnectTimeout.
        """
        failure: Exception = httpcore.ConnectError("the host has no address")
        for address in find_addresses(host):
            left = self._end - time.monotonic()
            if left <= 0:
                raise httpcore.ConnectTimeout
            try:
                stream = self._plain.connect_tcp(str(address), port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._end)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every step is given the time that is left, however little each step brings."""

    def __init__(self, stream: httpcore.NetworkStream, end: float) -> None:
        self._stream = stream
        self._end = end

    def _get_time_left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._get_time_left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], self._get_time_left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._get_time_left())
        return _TimedStream(secured, self._end)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def find_addresses(host: str) -> list[Address]:
    """The addresses of `host`, all of which may be connected to; none where it is not found.

    Raises:
        InvalidRequest: one is not public, though `host` is neither an address itself nor localhost.
    """
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    allowed = _is_loopback if host == "localhost" else _is_public
    if not all(map(allowed, addresses)):
        raise InvalidRequest(f"{host[:100]} leads to a private address.", hint="List the address itself to allow it.")
    return list(dict.fromkeys(addresses))


def _is_loopback(address: Address) -> bool:
    return address.is_loopback


def _is_public(address: Address) -> bool:
    """Whether the address, and the IPv4 address that it stands for, are public ones."""
    inner = None
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.is_global and not address.is_multicast and (inner is None or inner.is_global)

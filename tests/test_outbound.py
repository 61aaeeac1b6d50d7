"""Calls to addresses that requests name, attacked over real sockets: names that change their meaning, addresses that
are not public, hosts that answer for ever."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dialect_studio import make_png
from serving import wait_until

from studio.api.outbound import MAX_FETCHES, check_outbound_address, fetch_image
from studio.api.outbound_network import find_addresses
from studio.core.errors import InvalidRequest, QueueFull, Unreachable
from studio.core.settings import Settings

PUBLIC = "93.184.215.14"
OTHER_LOOPBACK = "127.0.0.2"
PIECES = 400  # of an answer that trickles, 20 ms apart: it would end by itself after 8 s
look_up = socket.getaddrinfo


@dataclass
class Host:
    """A server that speaks HTTP by hand; what it was asked, and by which names."""

    port: int = 0
    asked: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)


@contextmanager
def serve(
    answer: Callable[[socket.socket], None], address: str = "127.0.0.1", secured: ssl.SSLContext | None = None
) -> Iterator[Host]:
    host = Host()
    listener = socket.create_server((address, 0))
    host.port = listener.getsockname()[1]
    if secured is not None:
        secured.sni_callback = lambda _socket, name, _context: host.names.append(name)

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    spoken = connection if secured is None else secured.wrap_socket(connection, server_side=True)
                    host.asked.append(spoken.recv(65_536))
                    answer(spoken)
                    spoken.close()
                except OSError:
                    continue

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def send_image(connection: socket.socket) -> None:
    image = make_png()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(image) + image)


def trickle(connection: socket.socket, first: bytes, piece: bytes, last: bytes = b"") -> None:
    pause = threading.Event()
    connection.sendall(first)
    for _ in range(PIECES):
        connection.sendall(piece)
        pause.wait(0.02)
    connection.sendall(last)


def trickle_body(connection: socket.socket) -> None:
    trickle(connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PIECES, b"x")


def trickle_headers(connection: socket.socket) -> None:
    trickle(connection, b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", b"\r\nContent-Length: 1\r\n\r\nx")


def trickle_early_answers(connection: socket.socket) -> None:
    last = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    trickle(connection, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", last)


def name_addresses(patch: pytest.MonkeyPatch, name: str, *answers: list[str]) -> list[str]:
    """Let `name` have the addresses of each answer in turn, then those of the last; returns the names looked up."""
    looked_up: list[str] = []
    left = list(answers)

    def answer(host: str, port: Any, *rest: Any, **options: Any) -> Any:
        looked_up.append(host)
        if host != name:
            return look_up(host, port, *rest, **options)
        found = left.pop(0) if len(left) > 1 else left[0]
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kinds[":" in one], socket.SOCK_STREAM, 6, "", (one, port or 0)) for one in found]

    patch.setattr(socket, "getaddrinfo", answer)
    return looked_up


def test_a_name_that_changes_its_meaning_reaches_nothing_private(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(send_image) as host:
        looked_up = name_addresses(monkeypatch, "images.example", [PUBLIC], ["127.0.0.1"])
        settings = Settings(image_hosts=f"images.example:{host.port}")
        with pytest.raises(InvalidRequest, match="private address"):
            fetch_image(f"http://images.example:{host.port}/x.png", settings)
        assert looked_up.count("images.example") == 2, "the second answer is the one that was connected to"
        assert host.asked == []


def test_what_was_looked_up_is_connected_to_under_the_name_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(send_image, OTHER_LOOPBACK) as host:
        name_addresses(monkeypatch, "localhost", [OTHER_LOOPBACK])
        settings = Settings(image_hosts=f"localhost:{host.port}")
        assert fetch_image(f"http://localhost:{host.port}/a%20b?c=d", settings) == make_png()
        (asked,) = host.asked
        assert asked.startswith(b"GET /a%20b?c=d HTTP/1.1\r\n")
        assert f"\r\nhost: localhost:{host.port}\r\n".encode() in asked.lower()


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["::1"],
        ["fe80::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        [PUBLIC, "192.168.0.1"],
    ],
)
def test_no_name_leads_to_an_address_that_is_not_public(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    name_addresses(monkeypatch, "images.example", addresses)
    with pytest.raises(InvalidRequest):
        check_outbound_address("http://images.example/", "images.example", "image_hosts")


def test_a_name_with_public_addresses_is_let_pass_and_localhost_is_this_machine_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name_addresses(monkeypatch, "images.example", [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
    check_outbound_address("https://images.example/", "images.example", "image_hosts")
    name_addresses(monkeypatch, "localhost", ["192.168.0.1"])
    with pytest.raises(InvalidRequest):
        find_addresses("localhost")


@pytest.mark.parametrize(
    "address",
    [
        "http://images.example\\@127.0.0.1/",
        "http://images.example@127.0.0.1/",
        "http://127.0.0.1#@images.example/",
        "http://127.0.0.1?@images.example/",
        "http://images.example.:80/",
        "http://images.example:99999/",
        "http://images.example:80x/",
        "http://２130706433/",
        "http://[::ffff:127.0.0.1]/",
        "http:///images.example",
        "//images.example/",
        "http://images.example\r\nHost: evil/",
    ],
)
def test_an_address_means_the_same_host_to_check_and_connection(address: str) -> None:
    with pytest.raises(InvalidRequest):
        check_outbound_address(address, "images.example, images.example:99999", "image_hosts")


@pytest.mark.parametrize("answer", [trickle_body, trickle_headers, trickle_early_answers])
def test_an_answer_that_trickles_is_given_up(answer: Callable[[socket.socket], None]) -> None:
    with serve(answer) as host:
        settings = Settings(image_hosts=f"127.0.0.1:{host.port}")
        with pytest.raises(Unreachable):
            fetch_image(f"http://127.0.0.1:{host.port}/x.png", settings, 0.5)
        assert host.asked


def test_hosts_that_do_not_answer_take_only_some_of_the_threads() -> None:
    with serve(trickle_body) as host, ThreadPoolExecutor(MAX_FETCHES) as threads:
        settings, address = Settings(image_hosts=f"127.0.0.1:{host.port}"), f"http://127.0.0.1:{host.port}/x.png"

        def fetch(seconds: float) -> str:
            with pytest.raises((Unreachable, QueueFull)) as raised:
                fetch_image(address, settings, seconds)
            return raised.value.code

        refused = threading.Event()

        def keep_fetching() -> set[str]:
            """Again and again: on a busy machine the short one may take the place of one of these."""
            codes = {fetch(3.0)}
            while not refused.is_set():
                codes.add(fetch(3.0))
            return codes

        slow = [threads.submit(keep_fetching) for _ in range(MAX_FETCHES)]
        try:
            wait_until(lambda: fetch(0.01) == QueueFull.code)
        finally:
            refused.set()
        assert set().union(*(one.result() for one in slow)) <= {Unreachable.code, QueueFull.code}
        assert fetch(0.01) == Unreachable.code, "the places are free again"


@pytest.mark.parametrize("named", ["localhost", "images.example"])
def test_the_certificate_must_be_that_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    file = tmp_path / "host.pem"
    file.write_bytes(make_certificate(named))
    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured.load_cert_chain(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with serve(send_image, OTHER_LOOPBACK, secured) as host:
        name_addresses(monkeypatch, "localhost", [OTHER_LOOPBACK])
        settings, address = Settings(image_hosts=f"localhost:{host.port}"), f"https://localhost:{host.port}/x.png"
        if named == "localhost":
            assert fetch_image(address, settings) == make_png()
        else:
            with pytest.raises(Unreachable):
                fetch_image(address, settings)
        assert host.names == ["localhost"]


def make_certificate(name: str) -> bytes:
    """Certificate and key of a host, signed by itself."""
    key, subject = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
    )
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private

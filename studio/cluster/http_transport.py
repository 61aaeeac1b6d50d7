"""Machines that are studios of their own, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from studio.cluster.machines import MAX_MACHINES, Machine, MachineLost
from studio.cluster.wire import RENDER_PATH, STATE_PATH, Order, ReplicaState, encode_order, split_lines
from studio.core.errors import Forbidden, InvalidRequest, NotConfigured, ProviderError, StudioError, Unreachable
from studio.core.secrets_filter import remember_secret

if TYPE_CHECKING:
    import httpx

KEY_NAME = "CLUSTER_TOKEN"
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0  # without a line, after which a machine counts as lost; it sends two a second
_STATE_SECONDS = 10.0
_MAX_STATE = 8 * 1024 * 1024  # bytes
_MAX_REFUSAL = 500  # characters of what a machine says against an order


def parse_machines(addresses: str, tokens: str) -> list[Machine]:
    """The machines of the setting `cluster`; `tokens` has one for all, or one for each, separated by commas.

    Raises:
        NotConfigured: an address that is none, or another number of tokens.
    """
    urls = list(dict.fromkeys(part.strip().rstrip("/") for part in addresses.split(",") if part.strip()))
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise NotConfigured(
                f"“{url[:80]}” in the setting cluster is not an address.", hint="Write it as http://10.0.0.2:7860."
            )
    given = [part.strip() for part in tokens.split(",") if part.strip()] or [""]
    if len(urls) > MAX_MACHINES or len(given) not in (1, len(urls)):
        raise NotConfigured(
            f"The cluster has {len(urls)} addresses and {len(given)} tokens.",
            hint="Give one token for all, or one for each address in the same order.",
        )
    for token in filter(None, given):
        remember_secret(token)
    return [Machine(url, token) for url, token in zip(urls, given * len(urls), strict=False)]


class HttpTransport:
    """Passes as streams of lines; see Transport."""

    hint = "Start that studio with --replica, and check address and CLUSTER_TOKEN."

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def stream(self, machine: Machine, order: Order) -> Generator[dict[str, Any]]:
        """The events of `order` on `machine`; see Transport."""
        import httpx

        try:
            with self._get_client().stream(
                "POST",
                machine.url + RENDER_PATH,
                content=encode_order(order),
                headers={**_build_headers(machine), "Content-Type": "application/json"},
            ) as answer:
                if answer.status_code == 503:
                    raise MachineLost("It shuts down.", begun=False)
                if answer.status_code != 200:
                    raise _make_refusal(machine, answer.status_code, _read_short(answer))
                yield from split_lines(answer.iter_raw())
        except httpx.ConnectError as error:
            raise MachineLost(type(error).__name__, begun=False) from error
        except (httpx.HTTPError, OSError) as error:
            raise MachineLost(type(error).__name__) from error

    def fetch_state(self, machine: Machine) -> ReplicaState:
        """What `machine` tells of itself; see Transport."""
        import httpx

        try:
            with self._get_client().stream(
                "GET", machine.url + STATE_PATH, headers=_build_headers(machine), timeout=_STATE_SECONDS
            ) as answer:
                content = _read_short(answer)
        except (httpx.HTTPError, OSError, RuntimeError) as error:
            raise Unreachable(f"It does not answer ({type(error).__name__}).") from error
        if answer.status_code != 200:
            raise _make_refusal(machine, answer.status_code, content)
        try:
            return ReplicaState.from_json(json.loads(content))
        except (ValueError, RecursionError) as error:
            raise ProviderError("It is no studio.") from error

    def _get_client(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._client is None:
                limits = httpx.Limits(max_connections=4 * MAX_MACHINES, max_keepalive_connections=2 * MAX_MACHINES)
                timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
                # Not by a proxy of the environment: the token is for the machine itself.
                self._client = httpx.Client(timeout=timeout, limits=limits, follow_redirects=False, trust_env=False)
            return self._client


def _build_headers(machine: Machine) -> dict[str, str]:
    plain = {"Accept-Encoding": "identity"}  # so that what comes is as long as what is read
    return {"Authorization": f"Bearer {machine.token}", **plain} if machine.token else plain


def _read_short(answer: httpx.Response) -> bytes:
    """The body of an answer that is no stream. Raises ProviderError for one that is too long."""
    content = bytearray()
    for piece in answer.iter_raw(65_536):
        content += piece
        if len(content) > _MAX_STATE:
            raise ProviderError("It says too much.")
    return bytes(content)


def _make_refusal(machine: Machine, status: int, content: bytes) -> StudioError:
    """Why `machine` refused, for whoever runs the cluster."""
    if status in (401, 403):
        return Forbidden(
            f"{machine.url} does not accept the token.", hint="Set CLUSTER_TOKEN to a token of that studio."
        )
    if status == 404:
        return InvalidRequest(f"{machine.url} does not generate for others.", hint="Start that studio with --replica.")
    try:
        text = str(json.loads(content)["error"])[:_MAX_REFUSAL]
    except (ValueError, KeyError, TypeError, RecursionError):
        text = f"HTTP {status}"
    return ProviderError(f"{machine.url} refused: {text}", hint="See its log.")

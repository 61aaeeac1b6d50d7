"""The machines of a cluster as the studio in front sees them: which are there, what they have, who is free."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from studio.cluster.wire import RENDER_PATH, STATE_PATH, Order, ReplicaState, split_lines
from studio.core.errors import Forbidden, InvalidRequest, NotConfigured, ProviderError, StudioError, Unreachable
from studio.core.model import Model
from studio.core.secrets_filter import remember_secret
from studio.core.self_check import Check

if TYPE_CHECKING:
    import httpx

KEY_NAME = "CLUSTER_TOKEN"
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0  # without a line, after which a machine counts as lost; it sends two a second
POLL_SECONDS = 5.0  # between two looks at each machine
MAX_MACHINES = 64
MAX_PASSED = 10  # others, for each machine, that go before a pass since their model is in memory and its own is not
MAX_CONSIDERED = 200  # passes that wait and are chosen among
_STATE_SECONDS = 10.0
_MAX_STATE = 8 * 1024 * 1024  # bytes
_MAX_REFUSAL = 500  # characters of what a machine says against an order

_log = logging.getLogger(__name__)


class MachineLost(Exception):
    """A machine went away in the middle of a pass."""


@dataclass(eq=False)
class Machine:
    """One other studio. `state` is None while it does not answer; `running` counts our passes there."""

    url: str
    token: str = field(repr=False)
    state: ReplicaState | None = None
    problem: str = ""
    running: int = 0

    def find_model(self, model_id: str) -> Model | None:
        """Its model of that id, None where it has none or does not answer."""
        models = self.state.models if self.state is not None else ()
        return next((one for one in models if one.id == model_id), None)

    def is_resident(self, model_id: str) -> bool:
        """Whether it has the model in memory."""
        return self.state is not None and model_id in self.state.residents


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


@dataclass(eq=False)
class Waiter:
    """A pass that waits for a machine. `tried` were lost with it; `passed` others went before it."""

    model_id: str
    tried: tuple[Machine, ...] = ()
    passed: int = 0

    def list_usable(self, free: Sequence[Machine]) -> list[Machine]:
        """Those of `free` that have the model; none of `tried` while there are others."""
        there = [one for one in free if one.find_model(self.model_id) is not None]
        return [one for one in there if one not in self.tried] or there


class Machines:
    """Watches the machines and chooses among them. Thread-safe."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = list(machines)
        self._waiters: list[Waiter] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._client: httpx.Client | None = None

    def start(self) -> None:
        """Begin to look at each machine again and again, in threads of their own."""
        for machine in self._machines:
            threading.Thread(target=self._watch, args=(machine,), name="cluster", daemon=True).start()

    def close(self) -> None:
        """Stop looking, and close the connections."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._client is not None:
            self._client.close()

    def __len__(self) -> int:
        return len(self._machines)

    def list_models(self) -> list[Model]:
        """The models of all machines that answer, each once."""
        with self._changed:
            found = {one.id: one for machine in self._machines if machine.state for one in machine.state.models}
        return list(found.values())

    def list_problems(self) -> list[tuple[str, str]]:
        """(address, what is wrong) of the machines that do not answer."""
        with self._changed:
            return [(one.url, one.problem) for one in self._machines if one.state is None]

    def run_checks(self) -> list[Check]:
        """A line of the self-check for each machine, by the last look at it."""
        with self._changed:
            return [
                Check(
                    f"Machine {one.url}",
                    one.state is not None,
                    one.problem or f"answers, {len(one.state.models) if one.state else 0} models",
                    "" if one.state else "Start that studio with --replica, and check address and CLUSTER_TOKEN.",
                )
                for one in self._machines
            ]

    def take(self, model_id: str, tried: Sequence[Machine], check: Callable[[], None], patience: float) -> Machine:
        """A free machine that has the model, by `choose_next` among all who wait, and none of `tried` unless there is
        no other; it is given back with `give_back`. `check` is called again and again while it waits and may raise.

        Raises:
            Unreachable: no machine that has the model answered for `patience` seconds.
        """
        waiter, lonely_since = Waiter(model_id, tuple(tried)), time.monotonic()
        with self._changed:
            self._waiters.append(waiter)
        try:
            while True:
                check()
                with self._changed:
                    now = time.monotonic()
                    free = [one for one in self._machines if one.state is not None and one.running < one.state.slots]
                    chosen = choose_next(self._waiters, free, len(self._machines))
                    if chosen is not None and chosen[0] is waiter:
                        note_passed(self._waiters, waiter)
                        chosen[1].running += 1
                        return chosen[1]
                    if any(one.find_model(model_id) for one in self._machines):
                        lonely_since = now
                    elif now - lonely_since >= patience or self._closed.is_set():
                        raise Unreachable("No machine of the cluster answers.", hint="Start one, or check the network.")
                    self._changed.wait(0.2)
        finally:
            with self._changed:
                self._waiters.remove(waiter)
                self._changed.notify_all()

    def give_back(self, machine: Machine) -> None:
        """The pass on `machine` is over."""
        with self._changed:
            machine.running -= 1
            self._changed.notify_all()

    def mark_resident(self, machine: Machine, model_id: str) -> None:
        """`machine` has the model in memory from now on, before it says so itself."""
        with self._changed:
            if machine.state is not None and model_id not in machine.state.residents:
                kept = machine.state
                machine.state = ReplicaState(
                    models=kept.models,
                    residents=(*kept.residents, model_id),
                    running=kept.running,
                    slots=kept.slots,
                )

    def mark_lost(self, machine: Machine, problem: str) -> None:
        """`machine` is not asked until it answers again."""
        with self._changed:
            if machine.state is not None or machine.problem != problem:
                _log.warning("the machine %s of the cluster does not draw: %s", machine.url, problem)
            machine.state, machine.problem = None, problem
            self._changed.notify_all()

    def stream(self, machine: Machine, order: Order) -> Generator[dict[str, Any]]:
        """The events of `order` on `machine`; ended early, the machine stops.

        Raises:
            MachineLost: it does not answer, or no longer. StudioError: it refuses the order.
        """
        import httpx

        try:
            with self._get_client().stream(
                "POST", machine.url + RENDER_PATH, json=order.to_json(), headers=_build_headers(machine)
            ) as answer:
                if answer.status_code == 503:
                    raise MachineLost("it shuts down")
                if answer.status_code != 200:
                    raise _make_refusal(machine, answer.status_code, _read_short(answer))
                yield from split_lines(answer.iter_raw())
        except (httpx.HTTPError, OSError) as error:
            raise MachineLost(type(error).__name__) from error

    def _watch(self, machine: Machine) -> None:
        while not self._closed.is_set():
            try:
                state = self._fetch_state(machine)
            except StudioError as error:
                self.mark_lost(machine, error.message)
            else:
                with self._changed:
                    if machine.state is None:
                        _log.info("the machine %s of the cluster answers: %d models", machine.url, len(state.models))
                    machine.state, machine.problem = state, ""
                    self._changed.notify_all()
            self._closed.wait(POLL_SECONDS)

    def _fetch_state(self, machine: Machine) -> ReplicaState:
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

        with self._changed:
            if self._client is None:
                limits = httpx.Limits(max_connections=4 * MAX_MACHINES, max_keepalive_connections=2 * MAX_MACHINES)
                timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
                # Not by a proxy of the environment: the token is for the machine itself.
                self._client = httpx.Client(timeout=timeout, limits=limits, follow_redirects=False, trust_env=False)
            return self._client


def choose_next(waiters: Sequence[Waiter], free: Sequence[Machine], machines: int) -> tuple[Waiter, Machine] | None:
    """Who of `waiters`, the first one first, gets which of the `free` among that many `machines`; None where nobody can
    have any.

    Loading a model takes longer than an image or two. So whoever finds its model in memory goes before those for whom
    a machine would have to load one, but before none more than MAX_PASSED times for each machine.
    """
    considered = waiters[:MAX_CONSIDERED] if free else []
    late = [one for one in considered if one.passed >= MAX_PASSED * machines]
    for group, warm in ((late, False), (considered, True), (considered, False)):
        for waiter in group:
            usable = [one for one in waiter.list_usable(free) if not warm or one.is_resident(waiter.model_id)]
            if usable:
                return waiter, min(usable, key=lambda one: rate_machine(one, waiter.model_id))
    return None


def note_passed(waiters: Sequence[Waiter], chosen: Waiter) -> None:
    """Count that `chosen` goes before all that have waited longer."""
    for waiter in waiters:
        if waiter is chosen:
            return
        waiter.passed += 1


def rate_machine(machine: Machine, model_id: str) -> tuple[bool, int, int]:
    """What makes a machine worse than another: the model is not in memory there, others use it, it holds more."""
    state = machine.state or ReplicaState()
    return model_id not in state.residents, machine.running + state.running, len(state.residents)


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
        return InvalidRequest(f"{machine.url} draws for nobody.", hint="Start that studio with --replica.")
    try:
        text = str(json.loads(content)["error"])[:_MAX_REFUSAL]
    except (ValueError, KeyError, TypeError, RecursionError):
        text = f"HTTP {status}"
    return ProviderError(f"{machine.url} refused: {text}", hint="See its log.")

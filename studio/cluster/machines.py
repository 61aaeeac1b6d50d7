"""The machines of a cluster as the studio in front sees them: which are there, what they have, who is free."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from studio.cluster.wire import Order, ReplicaState
from studio.core.errors import StudioError, Unreachable
from studio.core.model import Model
from studio.core.self_check import Check

POLL_SECONDS = 5.0  # between two looks at each machine
MAX_MACHINES = 64
MAX_PASSED = 10  # others, for each machine, that go before a pass since their model is in memory and its own is not
MAX_CONSIDERED = 200  # passes that wait and are chosen among

_log = logging.getLogger(__name__)


class MachineLost(Exception):
    """A machine went away in the middle of a pass, or takes none now."""

    def __init__(self, problem: str, *, begun: bool = True) -> None:
        """`begun`: the pass may have run there, and may be why the machine went away."""
        super().__init__(problem)
        self.begun = begun


@dataclass(eq=False)
class Machine:
    """One other studio, named by its address. `state` is None while it does not answer; `running` counts our passes
    there."""

    url: str
    token: str = field(default="", repr=False)
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


class Transport(Protocol):
    """The way to the machines. Used by many threads."""

    hint: str  # what to do about a machine that does not answer

    def fetch_state(self, machine: Machine) -> ReplicaState:
        """What `machine` tells of itself.

        Raises:
            StudioError: it does not answer, or is of another kind.
        """
        ...

    def stream(self, machine: Machine, order: Order) -> Generator[dict[str, Any]]:
        """The events of `order` on `machine`; ended early, the machine stops.

        Raises:
            MachineLost: it does not answer, or no longer. StudioError: it refuses the order.
        """
        ...

    def close(self) -> None:
        """Let go of the machines."""
        ...


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

    def __init__(self, machines: Sequence[Machine], transport: Transport) -> None:
        self._machines = list(machines)
        self._transport = transport
        self._waiters: list[Waiter] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to look at each machine again and again, in threads of their own."""
        for machine in self._machines:
            threading.Thread(target=self._watch, args=(machine,), name="cluster", daemon=True).start()

    def close(self) -> None:
        """Stop looking, and let go of the machines."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._transport.close()

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
                    "" if one.state else self._transport.hint,
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
        """The events of `order` on `machine`; see Transport."""
        return self._transport.stream(machine, order)

    def _watch(self, machine: Machine) -> None:
        while not self._closed.is_set():
            try:
                state = self._transport.fetch_state(machine)
            except StudioError as error:
                self.mark_lost(machine, error.message)
            else:
                with self._changed:
                    if machine.state is None:
                        _log.info("the machine %s of the cluster answers: %d models", machine.url, len(state.models))
                    machine.state, machine.problem = state, ""
                    self._changed.notify_all()
            self._closed.wait(POLL_SECONDS)


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

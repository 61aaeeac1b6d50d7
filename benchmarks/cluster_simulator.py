"""How a cluster behaves that nobody here has: arrivals, models and machines in simulated time, without any drawing.

    python -m benchmarks.cluster_simulator

Jobs arrive at random (Poisson) and name models by Zipf's law; a machine that has a job's model in memory begins at
once, another loads it first and drops what was used longest ago. The rule that chooses the machine is the product's own
(`studio/cluster/machines.py`); beside it is one that looks only at who is free. Times are assumptions, not measured.
"""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from studio.cluster.machines import Machine, Waiter, choose_next, note_passed
from studio.cluster.wire import ReplicaState
from studio.core.model import Model

DRAW_SECONDS, LOAD_SECONDS = 6.0, 20.0  # of one image; of a checkpoint from disk
SPREAD = 0.3  # of the drawing time
JOBS_A_MACHINE = 40
_ANY_MODEL = Model(id="any", title="Any", family="any")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`load` is the share of the machines' time that drawing alone would take, `room` the models that fit into one
    machine's memory."""

    machines: int
    load: float = 0.7
    models: int = 20
    room: int = 2
    seed: int = 1


@dataclass(kw_only=True)
class Outcome:
    """`waits` in seconds from arrival to the first step; `busy` the share of time that machines drew or loaded."""

    waits: list[float] = field(default_factory=list[float])
    loads: int = 0
    busy: float = 0.0

    def find_wait(self, share: float) -> float:
        """The wait that `share` of the jobs did not pass, in seconds."""
        return sorted(self.waits)[min(len(self.waits) - 1, int(share * len(self.waits)))]


class SimulatedMachine(Machine):
    """A machine with a memory that drops what was used longest ago."""

    def __init__(self, number: int, room: int) -> None:
        super().__init__(f"machine {number}", "", ReplicaState())
        self.number, self.room = number, room
        self.held: OrderedDict[str, None] = OrderedDict()

    def find_model(self, model_id: str) -> Model | None:
        """Every machine has every model on its disk."""
        return _ANY_MODEL

    def begin(self, model: str) -> bool:
        """Whether the model has to be loaded first."""
        missing = model not in self.held
        self.held[model] = None
        self.held.move_to_end(model)
        while len(self.held) > self.room:
            self.held.popitem(last=False)
        self.state = ReplicaState(residents=tuple(self.held))
        return missing


Choose = Callable[[Sequence[Waiter], Sequence[SimulatedMachine], int], tuple[Waiter, SimulatedMachine] | None]


def choose_by_residents(
    waiters: Sequence[Waiter], free: Sequence[SimulatedMachine], machines: int
) -> tuple[Waiter, SimulatedMachine] | None:
    """As the product chooses."""
    found = choose_next(waiters, free, machines)
    return None if found is None else (found[0], cast(SimulatedMachine, found[1]))


def choose_first(
    waiters: Sequence[Waiter], free: Sequence[SimulatedMachine], machines: int
) -> tuple[Waiter, SimulatedMachine] | None:
    """The first job on whichever machine is free."""
    return (waiters[0], free[0]) if waiters and free else None


def simulate(scenario: Scenario, choose: Choose) -> Outcome:
    """Run JOBS_A_MACHINE jobs per machine through the cluster; as many wait for a machine as there are machines, the
    rest in the queue before that."""
    chance = random.Random(scenario.seed)
    names = [f"model {n}" for n in range(scenario.models)]
    weights = [1 / (n + 1) for n in range(scenario.models)]
    machines = [SimulatedMachine(n, scenario.room) for n in range(scenario.machines)]
    rate = scenario.load * scenario.machines / DRAW_SECONDS
    count = JOBS_A_MACHINE * scenario.machines
    arrivals = itertools.accumulate(chance.expovariate(rate) for _ in range(count))
    wanted = chance.choices(names, weights, k=count)
    jobs = deque((arrived, Waiter(model)) for arrived, model in zip(arrivals, wanted, strict=True))
    arrival: dict[Waiter, float] = {}
    free, waiting, queue = list(machines), list[Waiter](), deque[Waiter]()
    ends: list[tuple[float, int]] = []
    outcome, spent, now = Outcome(), 0.0, 0.0
    while jobs or waiting or ends:
        if ends and (not jobs or ends[0][0] <= jobs[0][0]):
            now, number = heapq.heappop(ends)
            free.append(machines[number])
        else:
            now, waiter = jobs.popleft()
            arrival[waiter] = now
            queue.append(waiter)
        while queue and len(waiting) < scenario.machines:
            waiting.append(queue.popleft())
        while (found := choose(waiting, free, scenario.machines)) is not None:
            waiter, machine = found
            note_passed(waiting, waiter)
            waiting.remove(waiter)
            free.remove(machine)
            loading = LOAD_SECONDS if machine.begin(waiter.model_id) else 0.0
            drawing = DRAW_SECONDS * chance.uniform(1 - SPREAD, 1 + SPREAD)
            outcome.loads += bool(loading)
            outcome.waits.append(now - arrival[waiter] + loading)
            spent += loading + drawing
            heapq.heappush(ends, (now + loading + drawing, machine.number))
    outcome.busy = spent / (now * scenario.machines)
    return outcome


def main() -> None:
    print("| machines | load | models, of which fit | wait: median, 95 % | loads a job | busy | by turn alone |")
    print("|---|---|---|---|---|---|---|")
    for scenario in (
        Scenario(machines=2, models=4),
        Scenario(machines=10),
        Scenario(machines=100),
        Scenario(machines=100, load=0.9),
        Scenario(machines=1000, models=100),
        Scenario(machines=1000, models=100, load=0.9),
    ):
        ours, plain = simulate(scenario, choose_by_residents), simulate(scenario, choose_first)
        print(
            f"| {scenario.machines} | {scenario.load:.0%} | {scenario.models}, {scenario.room} "
            f"| {statistics.median(ours.waits):.1f} s, {ours.find_wait(0.95):.0f} s "
            f"| {ours.loads / len(ours.waits):.2f} | {ours.busy:.0%} "
            f"| {statistics.median(plain.waits):.1f} s, {plain.find_wait(0.95):.0f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Machines that are actors of a Ray cluster, started from here. Ray is an optional package.

The actor says in `read` what happened since it was asked last: Ray's client, by which a studio reaches a cluster that
it is no part of, has no streams.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import math
import os
import queue
import threading
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from studio.cluster.machines import MAX_MACHINES, Machine, MachineLost
from studio.cluster.replica import ALIVE_SECONDS, MAX_WAITING, Replica, ReplicaContext
from studio.cluster.wire import Order, ReplicaState, encode_error, encode_event, encode_order, read_order, split_lines
from studio.core.errors import NotConfigured, ProviderError, StudioError, Unreachable
from studio.core.image_gate import ImageLimits
from studio.core.settings import Settings

SILENCE_SECONDS = 30.0  # without an answer, after which an actor counts as lost; it answers twice a second
_STATE_SECONDS = 10.0
_CLOSE_SECONDS = 5.0  # that actors have to remove their files
_REVIVE_SECONDS = 30.0  # between two tries to start actors that cannot start
_RETRY_SECONDS = 10.0  # between two tries to reach Ray
_STORE_BYTES = 512 * 1024 * 1024  # of shared memory for orders and images, where Ray is started from here
_CALLS = 3 * (MAX_WAITING + 1)  # at once: begin, read and stop of each pass
_READ_AT_ONCE = 64  # lines
_USER = "cluster"  # whose passes they are over there

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RayAddress:
    """Where the actors run: in the cluster at `url`, or in one that is started here where it is empty."""

    url: str
    replicas: int


@dataclass(frozen=True)
class ReplicaStudio:
    """What an actor has: a replica, the settings of its studio, and what ends it and removes its files."""

    replica: Replica
    settings: Settings
    close: Callable[[], None]


Build = Callable[[Mapping[str, Any]], ReplicaStudio]


def is_ray(setting: str) -> bool:
    """Whether the setting `cluster` asks for Ray."""
    return setting.strip().split("?")[0] == "ray" or setting.strip().startswith("ray://")


def parse_ray(setting: str) -> RayAddress:
    """`ray` or `ray://HOST:PORT`, each with `?replicas=N` after it.

    Raises:
        NotConfigured: it is none of these, or Ray is not installed.
    """
    parts = urlsplit(setting.strip())
    given = parse_qs(parts.query, keep_blank_values=True)
    count = given.pop("replicas", ["1"])[-1]
    there = parts.netloc if parts.scheme else ""
    fits = not given and not parts.fragment and parts.path == ("" if there else "ray") and "@" not in there
    if not fits or not count.isdecimal() or not 1 <= int(count) <= MAX_MACHINES:
        raise NotConfigured(
            f"“{setting[:80]}” in the setting cluster is not an address of Ray.",
            hint=f"Write it as ray://10.0.0.2:10001?replicas=4, or ray?replicas=2; at most {MAX_MACHINES} replicas.",
        )
    if importlib.util.find_spec("ray") is None:
        raise NotConfigured(
            "The setting cluster asks for Ray, which is not installed.",
            hint="Install it with pip install 'ray[client]', or give the addresses of other studios.",
        )
    return RayAddress(f"ray://{there}" if there else "", int(count))


class RayReplica:
    """The actor: a studio without a page. Ray calls it from several threads."""

    def __init__(self, build: Build, values: Mapping[str, Any]) -> None:
        self._studio = build(values)
        self._limits = ImageLimits.of(self._studio.settings)
        self._passes: dict[str, tuple[ReplicaContext, queue.SimpleQueue[bytes]]] = {}

    def describe(self) -> str:
        """What studios choose by, as JSON."""
        return json.dumps(self._studio.replica.describe().to_json())

    def begin(self, body: bytes) -> str | bytes:
        """Begin the pass of an order: its name for `read` and `stop`, or the line of an error."""
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        try:
            order = read_order(body, self._limits)
            context = self._studio.replica.begin(order, _USER, lines.put, lambda: lines.put(b""))
        except StudioError as error:
            return encode_error(error)
        name = uuid.uuid4().hex
        self._passes[name] = (context, lines)
        return name

    def read(self, name: str) -> list[bytes]:
        """The lines since the last call, or one that says that the machine is there. An empty line is the last; none at
        all: no such pass."""
        if name not in self._passes:
            return []
        _, lines = self._passes[name]
        found: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            found.append(lines.get(timeout=ALIVE_SECONDS))
            while len(found) < _READ_AT_ONCE:
                found.append(lines.get_nowait())
        return found or [encode_event("alive")]

    def stop(self, name: str) -> None:
        """The pass is not needed any more."""
        if name in self._passes:
            context, _ = self._passes.pop(name)
            context.stop()

    def close(self) -> None:
        """End the studio; the process is ended by Ray."""
        self._studio.close()


class RayTransport:
    """Passes as calls of actors; see Transport. Actors end with this object or its process."""

    hint = (
        "See whether Ray runs at that address, with room for that many replicas, and Easel installed on its machines."
    )

    def __init__(self, address: RayAddress, build: Build, values: Mapping[str, Any]) -> None:
        """`build` is called with `values` in each actor and makes what draws there; Ray finds it by its name."""
        self.machines = [Machine(f"{address.url or 'ray'}#{number + 1}") for number in range(address.replicas)]
        self._address = address
        self._build = build
        self._values = values
        self._actors: dict[str, Any] = {}
        self._dead: set[str] = set()
        self._problem = "Ray starts."
        self._closed = threading.Event()
        self._lost = threading.Event()
        # What Ray starts here ends with the thread that started it.
        self._holder = threading.Thread(target=self._hold, name="ray", daemon=True)
        self._holder.start()

    def fetch_state(self, machine: Machine) -> ReplicaState:
        """What `machine` tells of itself; see Transport."""
        try:
            told = self._call(machine, "describe", timeout=_STATE_SECONDS)
        except MachineLost as error:
            raise Unreachable(str(error)) from error
        try:
            return ReplicaState.from_json(json.loads(told))
        except (ValueError, RecursionError) as error:
            raise ProviderError("It is no studio.") from error

    def stream(self, machine: Machine, order: Order) -> Generator[dict[str, Any]]:
        """The events of `order` on `machine`; see Transport."""
        begun = self._call(machine, "begin", encode_order(order))
        if isinstance(begun, bytes):
            yield from split_lines(iter([begun]))
            return
        try:
            while True:
                lines = self._call(machine, "read", begun)
                if not lines:
                    raise MachineLost("It was started again.")
                yield from split_lines(iter(lines))
                if not lines[-1]:
                    return
        finally:
            self._tell_to_stop(machine, begun)

    def close(self) -> None:
        """End the actors, and Ray where it was started here."""
        self._closed.set()
        self._lost.set()
        self._holder.join(2 * _CLOSE_SECONDS)

    def _call(self, machine: Machine, method: str, *arguments: Any, timeout: float = SILENCE_SECONDS) -> Any:
        """What the actor's method returns.

        Raises:
            MachineLost: it is dead, silent or not there yet. ProviderError: it failed.
        """
        actor = self._actors.get(machine.url)
        if actor is None:
            raise MachineLost(self._problem, begun=False)
        import ray
        from ray.exceptions import ActorDiedError, GetTimeoutError, RayError, RayTaskError

        try:
            answer = ray.get(getattr(actor, method).remote(*arguments), timeout=timeout)
        except GetTimeoutError as error:
            raise MachineLost("It does not answer; it may still start, or wait for room in the Ray cluster.") from error
        except ActorDiedError as error:  # for good, if it could not even start; Ray starts the others again
            _log.warning("an actor of the Ray cluster is dead", exc_info=error)
            self._dead.add(machine.url)
            raise MachineLost("It ended. See the log.") from error
        except RayTaskError as error:
            _log.error("an actor of the Ray cluster failed", exc_info=error)
            raise ProviderError("A machine of the Ray cluster failed.", hint="See the log.") from error
        except RayError as error:
            raise MachineLost(type(error).__name__) from error
        except (ConnectionError, OSError, RuntimeError) as error:  # Ray's client, when the cluster is gone
            self._lost.set()
            raise MachineLost("The Ray cluster does not answer.") from error
        self._dead.discard(machine.url)
        return answer

    def _tell_to_stop(self, machine: Machine, name: str) -> None:
        """Ask without waiting: where the actor is dead, so is the pass."""
        actor = self._actors.get(machine.url)
        with contextlib.suppress(ConnectionError, OSError, RuntimeError):
            if actor is not None:
                actor.stop.remote(name)

    def _hold(self) -> None:
        """Keep the connection to Ray until the end; begin it again when it breaks."""
        while not self._closed.is_set():
            try:
                self._open()
                while not self._closed.is_set() and not self._lost.wait(_REVIVE_SECONDS):
                    self._start_actors([one.url for one in self.machines if one.url in self._dead])
            except (ConnectionError, OSError, RuntimeError, ValueError, TimeoutError) as error:
                self._problem = f"Ray does not start ({type(error).__name__})."
                _log.warning("the Ray cluster is not reached", exc_info=error)
                self._closed.wait(_RETRY_SECONDS)
            self._leave()

    def _open(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody unasked
        import ray

        self._lost.clear()
        logging.getLogger("ray").setLevel(logging.ERROR)
        there = self._address.url or os.environ.get("RAY_ADDRESS", "")
        if there:
            ray.init(there, log_to_driver=False, configure_logging=False)
        else:
            ray.init(
                "local",
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                log_to_driver=False,
                configure_logging=False,
            )
        self._start_actors([one.url for one in self.machines])
        self._problem = "It starts."

    def _start_actors(self, urls: Sequence[str]) -> None:
        import ray

        actor = ray.remote(RayReplica).options(max_restarts=-1, max_concurrency=_CALLS, **self._share_resources(ray))
        for url in urls:
            self._actors[url] = actor.remote(self._build, self._values)
            self._dead.discard(url)

    def _share_resources(self, ray: Any) -> dict[str, float | str]:
        """What each actor takes of the cluster: a GPU where there are enough, else its part of the smallest machine's
        cores, which is how many threads it has."""
        spread: dict[str, float | str] = {"scheduling_strategy": "SPREAD"}
        count = self._address.replicas
        if ray.cluster_resources().get("GPU", 0) >= count:
            return {**spread, "num_gpus": 1, "num_cpus": 0}
        nodes = [one["Resources"].get("CPU", 1.0) for one in ray.nodes() if one["Alive"]]
        part = min(nodes) / math.ceil(count / len(nodes))
        return {**spread, "num_cpus": math.floor(part) if part >= 1 else part}

    def _leave(self) -> None:
        import ray

        actors, self._actors = self._actors.values(), {}
        with contextlib.suppress(ConnectionError, OSError, RuntimeError):
            if actors and self._closed.is_set():
                ray.wait([one.close.remote() for one in actors], num_returns=len(actors), timeout=_CLOSE_SECONDS)
            for one in actors:
                ray.kill(one)
            ray.shutdown()

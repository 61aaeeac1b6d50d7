"""Networks of resident pipelines run by OpenVINO on a CPU: compiled behind the jobs, checked against torch, used when
ready."""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from studio.pipelines.accelerate import openvino_network
from studio.pipelines.accelerate.network_calls import NetworkCall, copy_network, describe_processors, read_call
from studio.pipelines.accelerate.network_store import (
    Measurement,
    NetworkStore,
    StoredNetwork,
    compute_digest,
    name_shapes,
)
from studio.pipelines.accelerate.openvino_network import CompiledNetwork

if TYPE_CHECKING:
    import torch

    from studio.pipelines.registry import PipelineRegistry, ResidentPipeline

_MOST_ERROR = 1e-4  # of the largest value of a result; ten times what was measured
_LEAST_GAIN = 1.05
_MOST_SAMPLES = 3
CLOSE_SECONDS = 5.0  # seconds that the end of the studio waits for what is being compiled
_MOST_PATTERNS = 2  # compiled networks for one of torch; a ControlNet that stops on the way needs two

_log = logging.getLogger(__name__)


@dataclass
class AcceleratedNetwork:
    """What there is for one network of a resident pipeline: `ready` by the pattern of its calls, `wanted` calls that
    nothing is ready for yet, and the patterns that are `refused`, with the reason. `copied` is what the worker reads,
    made when the pipeline's layers had been changed `changes` times."""

    name: str
    module: Any
    copied: Any = None
    changes: int = 0
    ready: dict[str, tuple[CompiledNetwork, StoredNetwork]] = field(default_factory=dict)
    wanted: dict[str, NetworkCall] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    is_looked_up: bool = False

    @property
    def bytes(self) -> int:
        return sum(weight.nbytes for weight in self.module.parameters())

    @property
    def gain(self) -> float:
        """How many times as fast the last measured call was, 0 while nothing was measured."""
        measured = [one for _, stored in self.ready.values() for one in stored.measured.values()]
        return measured[-1].gain if measured else 0.0


@dataclass(frozen=True)
class _Order:
    """What the worker is asked for: `calls` of a network by their pattern. It names its pipeline weakly, so that an
    order that waits keeps no weights in memory."""

    whose: weakref.ref[ResidentPipeline]
    network: str
    calls: Mapping[str, NetworkCall]


class Accelerator:
    """Decides by measurement which calls of which networks OpenVINO answers. `accelerate` is called in the lane of
    local models; one thread of its own converts and compiles."""

    def __init__(self, store: NetworkStore, registry: PipelineRegistry) -> None:
        self._store = store
        self._registry = registry
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_closed = False
        # Not by who asks first: a thread of low priority would hand its own on, to OpenVINO's threads too.
        self._worker = threading.Thread(target=self._run_worker, name="accelerator", daemon=True)
        self._worker.start()

    @contextmanager
    def accelerate(self, held: ResidentPipeline, pipe: Any, choice: str, tell: Callable[[str], None]) -> Iterator[None]:
        """Within the block the networks of `pipe`, a view of `held`, answer faster where they can. `choice` is the
        setting: "auto" keeps to torch where that is as fast, "openvino" does not compare. `tell` hears why a job is not
        accelerated that could have been."""
        if choice not in ("auto", "openvino") or not _can_accelerate(held):
            yield
            return
        if held.adapters.is_active:
            if any(one.ready for one in held.accelerated.values()):
                tell(f"{openvino_network.TITLE} was not used for this image: LoRAs change the model.")
            yield
            return
        networks = [self._get_network(held, *each) for each in list_networks(pipe, held.pipe).items()]
        with ExitStack() as stack:
            for one in networks:
                stack.enter_context(_replace_forward(one, choice, self._save))
            yield
        self._prepare(held, networks)

    def look_up(self, held: ResidentPipeline) -> None:
        """Begin to read what earlier starts compiled of the pipeline; returns at once."""
        if _can_accelerate(held):
            self._prepare(
                held, [self._get_network(held, *each) for each in list_networks(held.pipe, held.pipe).items()]
            )

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything that was begun is ready; whether it is."""
        done = threading.Event()
        self._work.put(done.set)
        return done.wait(timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Begin nothing more, and wait for what is being compiled: native code that runs while the interpreter ends may
        crash it."""
        self._is_closed = True
        self._work.put(None)
        self._worker.join(timeout)

    def _get_network(self, held: ResidentPipeline, name: str, module: Any) -> AcceleratedNetwork:
        return held.accelerated.setdefault(name, AcceleratedNetwork(name, module))

    def _prepare(self, held: ResidentPipeline, networks: list[AcceleratedNetwork]) -> None:
        """Hand to the worker what the networks lack. Their modules are copied here, where no job changes them."""
        for one in networks:
            calls, one.wanted = one.wanted, {}
            marks = describe_processors(one.module)  # what a pipeline put in for the length of its call is gone
            calls = {
                pattern: call for pattern, call in calls.items() if call.marks == marks and pattern not in one.refused
            }
            if one.is_looked_up and not calls:
                continue
            one.is_looked_up = True
            one.copied, one.changes = copy_network(one.module), held.adapters.changes
            self._work.put(partial(self._obey, _Order(weakref.ref(held), one.name, calls)))

    def _run_worker(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _obey(self, order: _Order) -> None:
        """Do what is asked for, unless the pipeline has left; it waits with leaving while this goes on."""
        held = order.whose()
        if held is None:
            return
        with held.background:
            if not held.has_left and (order.calls or self._store.has_any()):
                self._compile(held, held.accelerated[order.network], order.calls)
            del held  # before whoever waits goes on

    def _compile(self, held: ResidentPipeline, one: AcceleratedNetwork, calls: Mapping[str, NetworkCall]) -> None:
        """Read, or convert and compile, what is wanted of a network. Failures are kept as reasons and never raised: the
        job goes on with torch."""
        for pattern in calls:
            one.refused[pattern] = "failed"  # until it succeeds
        try:
            one.digest = one.digest or compute_digest(one.copied, lambda: self._is_closed or held.has_left)
            if not one.digest:
                return
            known = {stored.pattern: stored for stored in self._store.list_networks(one.digest)}
            for pattern in {**known, **calls}:
                if pattern in one.ready or len(one.ready) >= _MOST_PATTERNS or self._is_closed or held.has_left:
                    continue
                stored = known.get(pattern) or StoredNetwork(one.digest, pattern, {})
                if pattern in known or self._convert(held, one, calls[pattern], stored):
                    self._take(held, one, stored)
        except (RuntimeError, OSError, ValueError, TypeError, MemoryError) as error:
            # what torch and OpenVINO raise for operations that they cannot trace, convert or compile
            _log.warning("%s of a resident model was not compiled: %s", one.name, error)

    def _convert(
        self, held: ResidentPipeline, one: AcceleratedNetwork, call: NetworkCall, stored: StoredNetwork
    ) -> bool:
        """Write the network for calls like `call`; False when there is no room for it."""
        if not self._registry.has_room(2 * one.bytes) or not self._store.make_room(one.bytes):
            one.refused[call.pattern] = "not enough memory or disk"
            return False
        changes = one.changes
        openvino_network.convert_network(one.copied, call, self._store.get_path(stored.digest, stored.pattern))
        if held.adapters.changes != changes:  # half of it may be a job's LoRA
            one.digest = ""
            one.refused.pop(call.pattern, None)
            self._store.discard(stored.digest, stored.pattern)
            return False
        self._store.save(stored)
        return True

    def _take(self, held: ResidentPipeline, one: AcceleratedNetwork, stored: StoredNetwork) -> None:
        """Compile the stored network and let jobs use it, if the pipeline is still there."""
        if not self._registry.reserve(held, one.bytes):
            one.refused[stored.pattern] = "not enough memory"
            return
        begin = time.monotonic()
        compiled = CompiledNetwork(self._store.get_path(stored.digest, stored.pattern))
        _log.info("%s of %s was compiled in %.1f s", one.name, held.title, time.monotonic() - begin)
        one.ready[stored.pattern] = compiled, stored
        one.refused.pop(stored.pattern, None)

    def _save(self, stored: StoredNetwork) -> None:
        """Write what was measured behind the job; `stored` itself may change meanwhile."""
        self._work.put(partial(self._write, replace(stored, measured=dict(stored.measured))))

    def _write(self, stored: StoredNetwork) -> None:
        with suppress(OSError):  # a full disk: it is measured again after the next start
            self._store.save(stored)


def _can_accelerate(held: ResidentPipeline) -> bool:
    key = held.key
    return (key.device, key.dtype, key.offloaded) == ("cpu", "float32", False) and openvino_network.is_available()


def list_networks(pipe: Any, own: Any) -> dict[str, Any]:
    """The networks of `pipe` that take most of its time, by name: the denoiser, and the decoder of the VAE unless that
    is another than the checkpoint's `own`."""
    found = {name: getattr(pipe, name, None) for name in ("unet", "transformer")}
    vae = getattr(pipe, "vae", None)
    if vae is not None and vae is own.vae:
        found["decoder"] = getattr(vae, "decoder", None)
    return {name: module for name, module in found.items() if module is not None}


@contextmanager
def _replace_forward(one: AcceleratedNetwork, choice: str, save: Callable[[StoredNetwork], None]) -> Iterator[None]:
    before = vars(one.module).get("forward")
    one.module.forward = _Forward(one, choice, save, one.module.forward)
    try:
        yield
    finally:
        if before is None:
            del one.module.forward
        else:
            one.module.forward = before


class _Forward:
    """A network's call for the length of one pass."""

    def __init__(
        self, one: AcceleratedNetwork, choice: str, save: Callable[[StoredNetwork], None], forward: Any
    ) -> None:
        self._one = one
        self._choice = choice
        self._save = save
        self._forward = forward
        self._marks: list[str | None] = []

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if not self._marks:  # looked at with the first call, when everything that the job changes is in place
            self._marks.append(describe_processors(self._one.module))
        marks, one = self._marks[0], self._one
        call = read_call(arguments, named, marks) if marks is not None else None
        if call is None or call.pattern in one.refused:
            return self._forward(*arguments, **named)
        if call.pattern not in one.ready:
            found = self._forward(*arguments, **named)
            if _get_tensor(found) is not None and len(one.ready) < _MOST_PATTERNS:
                one.wanted.setdefault(call.pattern, call)
            return found
        compiled, stored = one.ready[call.pattern]
        measured = stored.measured.get(name_shapes(call.shapes))
        if measured is None or (not self._is_better(measured) and measured.samples < _MOST_SAMPLES):
            return self._measure(call, compiled, stored, lambda: self._forward(*arguments, **named))
        found = self._run(call, compiled) if self._is_better(measured) else None
        return self._forward(*arguments, **named) if found is None else _wrap_result(found, named)

    def _run(self, call: NetworkCall, compiled: CompiledNetwork) -> torch.Tensor | None:
        """The compiled network's answer; None when it fails, after which torch answers such calls."""
        one = self._one
        try:
            return compiled.run(call.tensors)
        except RuntimeError as error:
            _log.warning("%s is run by torch from now on: %s", one.name, error)
            one.refused[call.pattern] = str(error)
            one.ready.pop(call.pattern, None)
            return None

    def _is_better(self, measured: Measurement) -> bool:
        return measured.error <= _MOST_ERROR and (self._choice == "openvino" or measured.gain >= _LEAST_GAIN)

    def _measure(
        self, call: NetworkCall, compiled: CompiledNetwork, stored: StoredNetwork, forward: Callable[[], Any]
    ) -> Any:
        """The first call of a size is answered by both, the second time each is timed. Where nothing seems to be gained
        the next calls are measured too: other work may have kept the cores busy."""
        found = forward()
        expected = _get_tensor(found)
        if self._run(call, compiled) is None:
            return found
        begin = time.perf_counter()
        got = compiled.run(call.tensors)
        between = time.perf_counter()
        forward()
        end = time.perf_counter()
        largest = float(expected.abs().max()) or 1.0
        error = float((got - expected).abs().max()) / largest
        measured, shapes = Measurement(end - between, between - begin, error), name_shapes(call.shapes)
        if shapes in stored.measured:
            measured = measured.combine(stored.measured[shapes])
        stored.measured[shapes] = measured
        self._save(stored)
        _log.info("%s by OpenVINO: %.2f times as fast, error %.1e", self._one.name, measured.gain, error)
        return found


def _get_tensor(result: Any) -> Any:
    """The one tensor that a network answers with, or None when its answer has another form."""
    import torch

    if isinstance(result, torch.Tensor):
        return result
    single = isinstance(result, tuple) and len(result) == 1 and isinstance(result[0], torch.Tensor)
    return result[0] if single else None


def _wrap_result(tensor: Any, named: Mapping[str, Any]) -> Any:
    """As the network itself would answer: denoisers that are called with return_dict=False give a tuple."""
    return (tensor,) if named.get("return_dict") is False else tensor

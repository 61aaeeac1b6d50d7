"""Networks of resident pipelines run by OpenVINO on a CPU: compiled behind the jobs, checked against torch, used when
ready."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from studio.pipelines import device_memory
from studio.pipelines.accelerate import openvino_network
from studio.pipelines.accelerate.network_calls import (
    NetworkCall,
    Shapes,
    copy_network,
    describe_processors,
    read_call,
)
from studio.pipelines.accelerate.network_store import (
    Measurement,
    NetworkStore,
    StoredNetwork,
    compute_digest,
    name_shapes,
    read_shapes,
)
from studio.pipelines.accelerate.openvino_network import CompiledNetwork
from studio.pipelines.accelerate.winograd import measure_growth
from studio.pipelines.network_forward import replace_forward

if TYPE_CHECKING:
    import torch

    from studio.core.ports import JobContext
    from studio.pipelines.registry import PipelineRegistry, ResidentPipeline

OPENVINO_CHOICES = ("auto", "openvino")  # of the setting
_DENOISERS = ("unet", "transformer")
_ENCODER = "encoder"  # of the VAE: looked up by the first job that has a source image, as many have none
_UPSCALER = "upscaler"
# Of the largest value of a result, by the numbers of the weights. In 32 bits ten times what was measured. In bfloat16
# torch is 0.01 to 0.028 off its own result in 32 bits, and OpenVINO as much in other places: 0.013 to 0.033 apart.
_MOST_ERRORS = {"float32": 1e-4, "bfloat16": 8e-2}
_LEAST_GAIN = 1.05
_MOST_SAMPLES = 3
_SMALL = 256 * 2**20  # bytes of a network, up to which it is compiled for single sizes too
_MOST_SIZES = 4  # of such a network; the one that is used least leaves
_OFTEN = 4  # calls of a size, after which that is worth it
_MOST_COUNTED = 256  # sizes
_LONG_CALL = 0.5  # seconds of a call that is not measured twice, and is stopped in the middle when the job is
CLOSE_SECONDS = 5.0  # seconds that the end of the studio waits for what is being compiled
_MOST_PATTERNS = 2  # compiled networks for one of torch; a ControlNet that stops on the way needs two

_Size = tuple[str, Shapes]  # the pattern and the shapes of a call

_log = logging.getLogger(__name__)


@dataclass
class SizedNetwork:
    """A network compiled for one size alone. `is_checked` once it was compared with that for all sizes."""

    compiled: CompiledNetwork
    is_checked: bool = False


@dataclass
class AcceleratedNetwork:
    """What there is for one network of a resident pipeline: `ready` by the pattern of its calls, `wanted` calls that
    nothing is ready for yet, and the patterns that are `refused`, with the reason. `copied` is what the worker reads,
    made when the pipeline's layers had been changed `changes` times. `compiled_bytes` are what a compiled one
    takes: more than the weights where convolutions were transformed.

    A small network is compiled for single sizes too, which is faster yet: `sized` has what there is, None for what
    brought nothing, `wanted_sizes` those that are worth it, `uses` how often each was called. The registry counts the
    memory of `sized_places` of them; `reserved` are all bytes that it counts for the network."""

    name: str
    module: Any
    copied: Any = None
    changes: int = 0
    ready: dict[str, tuple[CompiledNetwork, StoredNetwork]] = field(default_factory=dict)
    wanted: dict[str, NetworkCall] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    sized: dict[_Size, SizedNetwork | None] = field(default_factory=dict)
    wanted_sizes: set[_Size] = field(default_factory=set[_Size])
    uses: Counter[_Size] = field(default_factory=Counter[_Size])
    sized_places: int = 0
    reserved: int = 0
    digest: str = ""
    compiled_bytes: int = 0
    is_looked_up: bool = False

    @cached_property
    def bytes(self) -> int:
        return sum(weight.nbytes for weight in self.module.parameters())

    @cached_property
    def is_in_32_bits(self) -> bool:
        return _read_dtype(self.module) == "float32"

    @cached_property
    def most_error(self) -> float:
        """The largest difference from torch's result, of its largest value, at which a compiled network is used."""
        return _MOST_ERRORS[_read_dtype(self.module)]

    def find_sized(self, call: NetworkCall) -> SizedNetwork | None:
        """What was compiled for the size of `call` alone. For a small network it is wished for where there is none and
        the size is used often."""
        size = call.pattern, call.shapes
        if len(self.uses) > _MOST_COUNTED:
            self.uses.clear()
        self.uses[size] += 1
        if size not in self.sized and self.uses[size] >= _OFTEN and self.compiled_bytes <= _SMALL:
            self.wanted_sizes.add(size)
        return self.sized.get(size)

    def release_memory(self) -> None:
        """Give back what its calls worked with."""
        for compiled, _ in tuple(self.ready.values()):
            compiled.release_memory()
        for sized in tuple(self.sized.values()):
            if sized is not None:
                sized.compiled.release_memory()

    def release_after_pass(self) -> None:
        """As `release_memory`, where it is called once a pass and worked with much."""
        if self.name not in _DENOISERS:
            self.release_memory()

    @property
    def gain(self) -> float:
        """How many times as fast the last measured call was, 0 while nothing was measured."""
        measured = [one for _, stored in self.ready.values() for one in stored.measured.values()]
        return measured[-1].gain if measured else 0.0


@dataclass(frozen=True)
class _Order:
    """What the worker is asked for: `calls` of a network by their pattern, and single `sizes`. It names its pipeline
    weakly, so that an order that waits keeps no weights in memory."""

    whose: weakref.ref[ResidentPipeline]
    network: str
    calls: Mapping[str, NetworkCall]
    sizes: tuple[_Size, ...]


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
    def accelerate(self, held: ResidentPipeline, pipe: Any, ctx: JobContext) -> Iterator[None]:
        """Within the block the networks of `pipe`, a view of `held`, answer faster where they can, as the setting of
        the job says: "auto" keeps to torch where that is as fast, "openvino" does not compare. The job hears why it is
        not accelerated where it could have been, and is asked during long calls whether it goes on."""
        choice = ctx.settings.accelerator
        if choice not in OPENVINO_CHOICES or not _can_accelerate(held):
            self._forget(held)
            yield
            return
        if held.adapters.is_active:
            if any(one.ready for one in held.accelerated.values()):
                ctx.add_notice(f"{openvino_network.TITLE} was not used for this image: LoRAs change the model.")
            yield
            return
        networks = [self._get_network(held, *each) for each in list_networks(pipe, held.pipe).items()]
        with ExitStack() as stack:
            for one in networks:
                stack.callback(one.release_after_pass)
                shared = _Pass(choice, self._save, ctx.raise_if_cancelled)
                stack.enter_context(replace_forward(one.module, _Forward(one, shared, one.module.forward)))
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

    def _forget(self, held: ResidentPipeline) -> None:
        """Give back the memory of what was compiled for a job of another setting. While more is being compiled nothing
        is waited for: a later job does it."""
        if not held.accelerated or not held.background.acquire(blocking=False):
            return
        try:
            self._registry.give_up(held, sum(one.reserved for one in held.accelerated.values()))
            held.accelerated.clear()
        finally:
            held.background.release()
        device_memory.release_memory()

    def _get_network(self, held: ResidentPipeline, name: str, module: Any) -> AcceleratedNetwork:
        return held.accelerated.setdefault(name, AcceleratedNetwork(name, module))

    def _prepare(self, held: ResidentPipeline, networks: list[AcceleratedNetwork]) -> None:
        """Hand to the worker what the networks lack. Their modules are copied here, where no job changes them."""
        for one in networks:
            calls, one.wanted = one.wanted, {}
            if calls:
                marks = describe_processors(one.module)  # what a pipeline put in for the length of its call is gone
                calls = {key: call for key, call in calls.items() if call.marks == marks and key not in one.refused}
            sizes, one.wanted_sizes = tuple(one.wanted_sizes), set()
            if (one.is_looked_up or one.name == _ENCODER) and not calls and not sizes:
                continue
            if calls or not one.is_looked_up:
                one.copied, one.changes = copy_network(one.module), held.adapters.changes
            one.is_looked_up = True
            self._work.put(partial(self._obey, _Order(weakref.ref(held), one.name, calls, sizes)))

    def _run_worker(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _obey(self, order: _Order) -> None:
        """Do what is asked for, unless the pipeline has left; it waits with leaving while this goes on."""
        held = order.whose()
        if held is None:
            return
        with held.background:
            one = held.accelerated.get(order.network)
            if one is not None and one.copied is not None:  # else it was given back since, with what was asked for it
                if not held.has_left and (order.calls or self._store.has_any()):
                    self._compile(held, one, order.calls)
                for size in order.sizes:
                    if not held.has_left and not self._is_closed:
                        self._compile_size(held, one, size)
            del one
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
                if pattern in known and self._take_known(held, one, known[pattern]):
                    continue
                stored = StoredNetwork(one.digest, pattern, {})
                if pattern in calls and self._convert(held, one, calls[pattern], stored):
                    self._take(held, one, stored)
        except (RuntimeError, OSError, ValueError, TypeError, MemoryError) as error:
            # what torch and OpenVINO raise for operations that they cannot trace, convert or compile
            _log.warning("%s of a resident model was not compiled: %s", one.name, error)

    def _convert(
        self, held: ResidentPipeline, one: AcceleratedNetwork, call: NetworkCall, stored: StoredNetwork
    ) -> bool:
        """Write the network for calls like `call`; False when there is no room for it."""
        growth = measure_growth(one.copied)
        # In bfloat16 the form's sums would be rounded, and processors that have it convolve faster as it is.
        transformed = one.is_in_32_bits and self._registry.has_room(2 * (one.bytes + growth))
        wanted = one.bytes + (growth if transformed else 0)
        if not self._registry.has_room(2 * one.bytes) or not self._store.make_room(wanted):
            one.refused[call.pattern] = "not enough memory or disk"
            _log.warning("%s of %s is run by torch: not enough memory or disk to compile it", one.name, held.title)
            return False
        changes = one.changes
        path = self._store.get_path(stored.digest, stored.pattern)
        openvino_network.convert_network(one.copied, call, path, transformed)
        if held.adapters.changes != changes:  # half of it may be a job's LoRA
            one.digest = ""
            one.refused.pop(call.pattern, None)
            self._store.discard(stored.digest, stored.pattern)
            return False
        try:
            self._store.save(stored)
        except OSError:  # a full disk: what nobody would find is not left on it
            self._store.discard(stored.digest, stored.pattern)
            raise
        return True

    def _take_known(self, held: ResidentPipeline, one: AcceleratedNetwork, stored: StoredNetwork) -> bool:
        """As `_take`, for what an earlier start wrote. False where its files are damaged: they are removed, so that the
        network is converted again."""
        try:
            self._take(held, one, stored)
        except (RuntimeError, OSError, ValueError) as error:
            _log.warning("%s is converted again, as its stored form cannot be used: %s", one.name, error)
            self._store.discard(stored.digest, stored.pattern)
            return False
        return True

    def _take(self, held: ResidentPipeline, one: AcceleratedNetwork, stored: StoredNetwork) -> None:
        """Compile the stored network and let jobs use it, if the pipeline is still there."""
        size = self._store.measure_network(stored)
        if not self._registry.has_room(2 * size) or not self._registry.reserve(held, size):  # its file is read as well
            one.refused[stored.pattern] = "not enough memory"
            _log.warning("%s of %s is run by torch: not enough memory for its compiled form", one.name, held.title)
            return
        one.compiled_bytes = size
        begin = time.monotonic()
        with ExitStack() as failed:
            failed.callback(self._registry.give_up, held, size)
            compiled = CompiledNetwork(self._store.get_path(stored.digest, stored.pattern))
            if stored.measured:  # at an earlier start, so that the first step waits for nothing
                compiled.run_empty(min(map(read_shapes, stored.measured), key=_count_numbers))
            failed.pop_all()
        one.reserved += size
        _log.info("%s of %s was compiled in %.1f s", one.name, held.title, time.monotonic() - begin)
        one.ready[stored.pattern] = compiled, stored
        one.refused.pop(stored.pattern, None)

    def _compile_size(self, held: ResidentPipeline, one: AcceleratedNetwork, size: _Size) -> None:
        """Compile a small network for one size alone; the next call of that size compares it."""
        pattern, shapes = size
        if pattern not in one.ready or size in one.sized:
            return
        compiled = [key for key, sized in one.sized.items() if sized is not None]
        if len(compiled) >= _MOST_SIZES:
            least = min(compiled, key=lambda key: one.uses[key])
            if one.uses[least] >= one.uses[size]:
                return
            del one.sized[least]  # its memory is the next one's
        elif len(compiled) == one.sized_places:  # none that brought nothing has left its memory to this one
            if not self._registry.reserve(held, one.compiled_bytes):
                return
            one.sized_places += 1
            one.reserved += one.compiled_bytes
        one.sized[size] = None
        stored = one.ready[pattern][1]
        try:
            path = self._store.get_path(stored.digest, pattern)
            one.sized[size] = SizedNetwork(CompiledNetwork(path, shapes))
        except (RuntimeError, OSError, MemoryError) as error:
            _log.warning("%s was not compiled for one size: %s", one.name, error)

    def _save(self, stored: StoredNetwork) -> None:
        """Write what was measured behind the job; `stored` itself may change meanwhile."""
        self._work.put(partial(self._write, replace(stored, measured=dict(stored.measured))))

    def _write(self, stored: StoredNetwork) -> None:
        with suppress(OSError):  # a full disk: it is measured again after the next start
            self._store.save(stored)


def _can_accelerate(held: ResidentPipeline) -> bool:
    return held.key.device == "cpu" and not held.key.offloaded and openvino_network.is_available()


def list_networks(pipe: Any, own: Any) -> dict[str, Any]:
    """The networks of `pipe` that take most of its time and that OpenVINO can run as torch does, by name: the denoiser,
    the decoder and the encoder of the VAE unless that is another than the checkpoint's `own`, or an upscaler's only
    one."""
    found = {name: getattr(pipe, name, None) for name in _DENOISERS}
    vae = getattr(pipe, "vae", None)
    if vae is not None and vae is own.vae:
        found |= {name: getattr(vae, name, None) for name in ("decoder", _ENCODER)}
    found[_UPSCALER] = getattr(pipe, "model", None)
    return {name: module for name, module in found.items() if module is not None and _can_run(name, module)}


def _count_numbers(shapes: Shapes) -> int:
    return sum(map(math.prod, shapes))


def _can_run(name: str, module: Any) -> bool:
    """Whether a network is in 32 bits; or in bfloat16, where the processor has it. Upscalers in bfloat16 are not: how
    far they differ was not measured."""
    dtype = _read_dtype(module)
    return dtype == "float32" or (dtype == "bfloat16" and name != _UPSCALER and openvino_network.has_bfloat16())


def _read_dtype(module: Any) -> str:
    """The name of the torch dtype that all weights of a network have, "" where they differ."""
    dtypes = {weight.dtype for weight in module.parameters()}
    return str(dtypes.pop()).removeprefix("torch.") if len(dtypes) == 1 else ""


@dataclass(frozen=True)
class _Pass:
    """What the networks of one pass share: the setting, what keeps a measurement, and `check`, which raises when the
    job is to stop."""

    choice: str
    save: Callable[[StoredNetwork], None]
    check: Callable[[], None]


class _Forward:
    """A network's call for the length of one pass."""

    def __init__(self, one: AcceleratedNetwork, shared: _Pass, forward: Any) -> None:
        self._one = one
        self._shared = shared
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
        found = self._run_fastest(call, compiled, stored, measured) if self._is_better(measured) else None
        return self._forward(*arguments, **named) if found is None else _wrap_result(found, named)

    def _run_fastest(
        self, call: NetworkCall, compiled: CompiledNetwork, stored: StoredNetwork, measured: Measurement
    ) -> torch.Tensor | None:
        """As `_run`, by the network for the call's size alone where there is one. Its first call is compared."""
        sized = self._one.find_sized(call)
        if sized is None or sized.is_checked:
            return self._run(call, compiled if sized is None else sized.compiled, measured)
        begin = time.perf_counter()
        expected = self._run(call, compiled, measured)
        seconds = time.perf_counter() - begin
        if expected is None:
            return None
        found = self._try(call, sized.compiled, expected, seconds)
        if found.accelerated < _LONG_CALL:
            found = replace(self._try(call, sized.compiled, expected, seconds), error=found.error)
        sized.is_checked = True
        if found.error > self._one.most_error or found.gain < 1:
            self._one.sized[call.pattern, call.shapes] = None
            return expected
        stored.measured[name_shapes(call.shapes)] = replace(measured, accelerated=found.accelerated)
        self._shared.save(stored)
        return expected

    def _run(self, call: NetworkCall, compiled: CompiledNetwork, measured: Measurement) -> torch.Tensor | None:
        """The compiled network's answer; None when it fails, after which torch answers such calls."""
        one = self._one
        try:
            # Looking whether the job goes on costs short calls more than it saves.
            return compiled.run(call.tensors, self._shared.check if measured.accelerated > _LONG_CALL else None)
        except RuntimeError as error:
            _log.warning("%s is run by torch from now on: %s", one.name, error)
            one.refused[call.pattern] = str(error)
            one.ready.pop(call.pattern, None)
            return None

    def _is_better(self, measured: Measurement) -> bool:
        is_faster = self._shared.choice == "openvino" or measured.gain >= _LEAST_GAIN
        return measured.error <= self._one.most_error and is_faster

    def _measure(
        self, call: NetworkCall, compiled: CompiledNetwork, stored: StoredNetwork, forward: Callable[[], Any]
    ) -> Any:
        """The first call of a size is answered by both, and again by both where that does not take long. Where nothing
        seems to be gained the next calls are measured too: other work may have kept the cores busy."""
        begin = time.perf_counter()
        found = forward()
        measured = self._try(call, compiled, _get_tensor(found), time.perf_counter() - begin)
        if measured.torch < _LONG_CALL and measured.error <= self._one.most_error:
            accelerated = _time_second(lambda: compiled.run(call.tensors))
            measured = replace(measured, torch=_time_second(forward), accelerated=accelerated)
        shapes = name_shapes(call.shapes)
        if shapes in stored.measured:
            measured = measured.combine(stored.measured[shapes])
        stored.measured[shapes] = measured
        self._shared.save(stored)
        _log.info("%s by OpenVINO: %.2f times as fast, error %.1e", self._one.name, measured.gain, measured.error)
        return found

    def _try(
        self, call: NetworkCall, compiled: CompiledNetwork, expected: torch.Tensor, torch_seconds: float
    ) -> Measurement:
        """One call against what torch made of it. A size that the network cannot run, as it was traced for others, has
        an endless error."""
        begin = time.perf_counter()
        try:
            got = compiled.run(call.tensors, self._shared.check)
        except RuntimeError as error:
            _log.warning("%s is run by torch in this size: %s", self._one.name, error)
            return Measurement(torch_seconds, 0.0, math.inf, _MOST_SAMPLES)
        seconds = time.perf_counter() - begin
        if got.shape != expected.shape or got.dtype != expected.dtype:
            return Measurement(torch_seconds, seconds, math.inf, _MOST_SAMPLES)
        largest = float(expected.abs().max()) or 1.0
        difference = got.float() - expected.float()
        return Measurement(torch_seconds, seconds, float(difference.abs().max()) / largest)


def _time_second(run: Callable[[], Any]) -> float:
    """Seconds of the second of two calls: the first one has costs of its own, and meets the threads of what ran before,
    which still wait for work on the same cores."""
    run()
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


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

"""Denoisers recorded as CUDA graphs: all kernels of a call are launched at once. Small networks gain by it, whose
kernels end sooner than the processor launches the next one."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.core.settings import Settings
from studio.pipelines.accelerate.network_calls import NetworkCall, Shapes, describe_processors, read_call
from studio.pipelines.network_forward import replace_forward

if TYPE_CHECKING:
    import torch

_MOST_BYTES = 2 * 2**30  # of a network's weights; a larger one keeps the card busy without
_MOST_GRAPHS = 4  # each holds what a call works with
_WARM_UPS = 3  # calls before one is recorded, as torch's documentation has them
_MOST_ERROR = 1e-3  # of the largest value of a result; the same kernels run on the same numbers
_TITLE = "CUDA graphs were not used for this image"
NO_CARD = f"{_TITLE}: they need an NVIDIA card with the whole model on it."
TOO_LARGE = f"{_TITLE}: this model is too large to gain by them."
CHANGED = f"{_TITLE}: LoRAs or other options change the model while it runs."
NOT_RECORDED = f"{_TITLE}: this model cannot be recorded."

_log = logging.getLogger(__name__)
_Recorded = Callable[..., Any]
_Key = tuple[str, Shapes, str]


@dataclass
class RecordedGraphs:
    """The graphs of one resident denoiser by the pattern and shapes of the call and the kind of attention, the most
    recently used last, and the calls that are `refused`. A graph reads the weights where they lay when it was recorded:
    `places`."""

    places: tuple[int, ...] = ()
    graphs: OrderedDict[_Key, _Recorded] = field(default_factory=OrderedDict[_Key, _Recorded])
    refused: set[_Key] = field(default_factory=set[_Key])

    def keep_for(self, places: tuple[int, ...]) -> None:
        """Forget everything where the weights lie elsewhere now."""
        if places != self.places:
            self.clear()
            self.places = places

    def clear(self) -> None:
        """Forget everything, and give back the memory of it."""
        self.graphs.clear()
        self.refused.clear()


@contextmanager
def replay_denoiser(
    recorded: RecordedGraphs, pipe: Any, settings: Settings, tell: Callable[[str], None]
) -> Iterator[None]:
    """Within the block the denoiser of `pipe` is answered by graphs, recorded at the first call of a size, where
    `settings` ask for it. `tell` hears why it is not. With another setting the graphs' memory is given back."""
    network = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if settings.accelerator != "graphs" or network is None:
        recorded.clear()
        yield
        return
    obstacle = _find_obstacle(network)
    if obstacle:
        recorded.clear()
        tell(obstacle)
        yield
        return
    recorded.keep_for(tuple(tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())))
    with replace_forward(network, _Replay(recorded, network, settings.attention, tell)):
        yield


def can_record(network: Any) -> bool:
    """Whether all of the network is on an NVIDIA card."""
    return all(weight.device.type == "cuda" for weight in network.parameters())


def capture(function: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
    """What does the work of `function` on the card again, and the tensor that it answers in each time.

    Raises:
        RuntimeError: something that no graph can hold, or no memory.
    """
    import torch

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # what libraries choose and set up at first is no part of the graph
        for _ in range(_WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # what other threads do on the card is theirs
        answer = function()
    return graph.replay, answer


def _record_graph(function: Callable[..., torch.Tensor], sample: Sequence[torch.Tensor]) -> _Recorded:
    """`function` for tensors like `sample`, which are its own from now on, as a graph. Its result is written over by
    the next call."""
    replay, answer = capture(lambda: function(*sample))

    def repeat(*tensors: torch.Tensor) -> torch.Tensor:
        for own, given in zip(sample, tensors, strict=True):
            own.copy_(given)
        replay()
        return answer

    return repeat


def _find_obstacle(network: Any) -> str:
    """What is said where the network cannot be recorded, "" where it can."""
    import torch

    if not can_record(network):
        return NO_CARD
    weights = tuple(network.parameters())
    if sum(weight.nbytes for weight in weights) > _MOST_BYTES:
        return TOO_LARGE
    # What casts weights or skips blocks for the length of a call leaves other memory behind than a graph reads.
    hooked = any(getattr(getattr(module, "_diffusers_hook", None), "hooks", None) for module in network.modules())
    plain = all(weight.dtype in (torch.float32, torch.float16, torch.bfloat16) for weight in weights)
    return CHANGED if hooked or not plain or describe_processors(network) is None else ""


class _Replay:
    """A denoiser's call for the length of one pass."""

    def __init__(self, recorded: RecordedGraphs, network: Any, attention: str, tell: Callable[[str], None]) -> None:
        self._recorded = recorded
        self._network = network
        self._forward = network.forward
        self._attention = attention
        self._tell = tell
        self._marks: list[str | None] = []

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if not self._marks:  # looked at with the first call, when everything that the job changes is in place
            self._marks.append(describe_processors(self._network))
            if self._marks[0] is None:
                self._tell(CHANGED)
        marks = self._marks[0]
        call = read_call(arguments, named, marks) if marks is not None else None
        if call is None or named.get("return_dict") is not False or not self._is_near(call):
            return self._forward(*arguments, **named)
        key = call.pattern, call.shapes, self._attention
        if key in self._recorded.refused:
            return self._forward(*arguments, **named)
        graph = self._recorded.graphs.get(key)
        if graph is None:
            return self._record(key, call)
        self._recorded.graphs.move_to_end(key)
        return (graph(*call.tensors).clone(),)

    def _is_near(self, call: NetworkCall) -> bool:
        """Whether all tensors of the call are where the weights are: a graph copies nothing between devices."""
        device = next(self._network.parameters()).device
        return all(tensor.device == device for tensor in call.tensors)

    def _record(self, key: _Key, call: NetworkCall) -> Any:
        """The network's own answer to the call that is recorded, which the graph's is compared with."""
        graphs, forward = self._recorded.graphs, self._forward

        def run(*tensors: torch.Tensor) -> torch.Tensor:
            arguments, named = call.fill_arguments(tensors)
            return forward(*arguments, **named)[0]

        expected = run(*call.tensors)
        while len(graphs) >= _MOST_GRAPHS:
            graphs.popitem(last=False)
        try:
            graph = _record_graph(run, [tensor.detach().clone() for tensor in call.tensors])
            got = graph(*call.tensors)
            error = float((got - expected).abs().max()) / (float(expected.abs().max()) or 1.0)
        except RuntimeError as problem:  # what torch raises for what it cannot record, and without memory
            _log.warning("a denoiser was not recorded: %s", problem)
            self._refuse(key)
            return (expected,)
        if error <= _MOST_ERROR:
            graphs[key] = graph
        else:
            _log.warning("a recorded denoiser's results differ by %.1e", error)
            self._refuse(key)
        return (expected,)

    def _refuse(self, key: _Key) -> None:
        self._recorded.refused.add(key)
        self._tell(NOT_RECORDED)

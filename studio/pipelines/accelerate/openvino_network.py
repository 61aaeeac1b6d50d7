"""A torch network as OpenVINO runs it on a CPU: traced, converted and compiled here, without any request to outside."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.durable_files import sync_file
from studio.pipelines.accelerate.joined_upsampling import join_upsampling
from studio.pipelines.accelerate.network_calls import NetworkCall, Shapes
from studio.pipelines.accelerate.text_part import TEXT_ARGUMENT, split_text_part
from studio.pipelines.accelerate.winograd import read_sides, transform_convolutions

if TYPE_CHECKING:
    import torch

TITLE = "OpenVINO"
_CHECK_MILLISECONDS = 50
_OPTIONS = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
# OpenVINO would choose bfloat16 where the processor has it: other images than torch's.
_IN_32_BITS = {**_OPTIONS, "INFERENCE_PRECISION_HINT": "f32"}
# Each operation in the numbers that it was traced with. The hint of bfloat16 rounds the angles of the timestep too,
# which torch computes in 32 bits: three times the error at the size of Stable Diffusion 1.5, and no faster.
_AS_TRACED = {**_OPTIONS, "EXECUTION_MODE_HINT": "ACCURACY"}


def is_available() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("openvino") is not None


@cache
def has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this processor rather than imitate it."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def get_version() -> str:
    return importlib.metadata.version("openvino")


class CompiledNetwork:
    """A network that is ready to run calls of one pattern, of any size or of one. Not for two threads at a time."""

    def __init__(self, path: Path, shapes: Shapes | None = None) -> None:
        """Compile the network that `convert_network` wrote to `path`, for tensors of any size or of `shapes` alone.

        Raises:
            RuntimeError: it cannot be read or compiled.
        """
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        if shapes is not None:
            model.reshape({place: list(shape) for place, shape in enumerate(shapes)})
        options = _AS_TRACED if _is_in_bfloat16(model) else _IN_32_BITS
        text = split_text_part(model)
        self._text = None if text is None else _TextPart(core.compile_model(text.model, "CPU", options), text.place)
        self._compiled = core.compile_model(model, "CPU", options)
        self._request = self._compiled.create_infer_request()

    def run(self, tensors: Sequence[torch.Tensor], check: Callable[[], None] | None = None) -> torch.Tensor:
        """The network's result for the tensors of a call. `check` is called now and then, and what it raises ends the
        call within a layer.

        Raises:
            RuntimeError: a size that it cannot run, or no memory.
        """
        import openvino
        import torch

        given = [_share_memory(tensor) for tensor in tensors]
        if self._text is not None:
            given += self._text.run(tensors)
        if check is None:
            self._request.infer(given, share_inputs=True, share_outputs=True)
        else:
            self._request.start_async(given, share_inputs=True)
            self._wait(check)
        found = self._request.get_output_tensor(0)
        result = torch.from_numpy(found.data)
        if found.element_type == openvino.Type.bf16:
            result = result.view(torch.bfloat16)
        return result.clone()  # the next call writes over it

    def run_empty(self, shapes: Shapes) -> None:
        """Run a call of `shapes` with zeros, for what only a first call does: weights are packed then, which takes
        several times as long as the call itself.

        Raises:
            RuntimeError: as `run`.
        """
        import numpy as np
        import openvino
        import torch

        def make_zeros(shape: tuple[int, ...], kind: Any) -> torch.Tensor:
            zeros = torch.from_numpy(np.zeros(shape, kind.to_dtype()))
            return zeros.view(torch.bfloat16) if kind == openvino.Type.bf16 else zeros

        places = self._compiled.inputs[: len(shapes)]
        self.run([make_zeros(shape, place.element_type) for shape, place in zip(shapes, places, strict=True)])
        self.release_memory()

    def _wait(self, check: Callable[[], None]) -> None:
        is_done = False
        try:
            while not (is_done := self._request.wait_for(_CHECK_MILLISECONDS)):
                check()
        finally:
            if not is_done:
                self._request.cancel()
                with suppress(RuntimeError):  # that it was cancelled
                    self._request.wait()  # it reads the call's tensors until then

    def release_memory(self) -> None:
        """Give back what the last call worked with; the next one takes it anew."""
        with suppress(RuntimeError):  # a call has begun meanwhile
            self._compiled.release_memory()


class _TextPart:
    """What a network makes of the text, made anew only when that changes."""

    def __init__(self, compiled: Any, place: int) -> None:
        self._place = place
        self._request = compiled.create_infer_request()
        self._results = range(len(compiled.outputs))
        self._known: torch.Tensor | None = None
        self._made: list[Any] = []

    def run(self, tensors: Sequence[torch.Tensor]) -> list[Any]:
        """Its results for the text among the `tensors` of a call of the whole network."""
        import torch

        text = tensors[self._place]
        if self._known is None or not torch.equal(self._known, text):
            self._known = None  # while it fails
            found = self._request.infer([_share_memory(text)], share_inputs=True, share_outputs=True)
            self._made = [found[place] for place in self._results]
            self._known = text.detach().clone()
        return self._made


def _share_memory(tensor: torch.Tensor) -> Any:
    """The tensor as OpenVINO's Python takes it: numpy has no bfloat16, and where a network asks for that, 16 bits of
    another kind are taken as they are."""
    import torch

    whole = tensor.detach().contiguous()
    return (whole.view(torch.float16) if whole.dtype is torch.bfloat16 else whole).numpy()


def convert_network(network: Any, call: NetworkCall, path: Path, transformed: bool = False) -> None:
    """Write `network`, as it answers calls like `call`, to `path` (.xml, with a .bin beside it), for any batch, height,
    width and number of tokens; `transformed` with convolutions in Winograd's form, unless it is in bfloat16.

    OpenVINO's own convert_model is not used: it reports its use to its maker's server.

    Raises:
        RuntimeError: an operation that cannot be traced or converted.
        OSError: the file cannot be written.
    """
    import openvino
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    class Positional(torch.nn.Module):
        """The network with the call's tensors as its only arguments and one tensor as its result."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            arguments, named = call.fill_arguments(tensors)
            found = self.network(*arguments, **named)
            return found if isinstance(found, torch.Tensor) else found[0]

    category: type[Warning] = torch.jit.TracerWarning  # pyright: ignore[reportPrivateImportUsage]
    warnings.filterwarnings("ignore", category=category)  # what was traced is compared with torch
    warnings.filterwarnings("ignore", message="`torch.jit.trace", category=FutureWarning)
    with torch.no_grad():
        examples = tuple(tensor.detach().clone() for tensor in call.tensors)
        traced = torch.jit.trace(Positional(), examples, strict=False, check_trace=False)
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # has to outlive the conversion
    model = frontend.convert(frontend.load(decoder))
    if (place := call.find_tensor(TEXT_ARGUMENT)) is not None:
        model.get_parameters()[place].set_friendly_name(TEXT_ARGUMENT)
    model.reshape({place: list(tensor.shape) for place, tensor in enumerate(call.tensors)})
    sides = read_sides(model)
    model.reshape({place: _loosen_shape(tensor.shape) for place, tensor in enumerate(call.tensors)})
    if not _is_in_bfloat16(model):  # sums of weights would be rounded
        join_upsampling(model)
        if transformed:
            transform_convolutions(model, sides)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not in 16 bits, even where all weights are such numbers: other constants are not, and the largest error was a
    # thousandth of the values.
    written = path.with_name(f"{path.stem}.{os.getpid()}.xml")
    try:
        openvino.save_model(model, str(written), compress_to_fp16=False)
        for suffix in (".bin", ".xml"):  # renamed, because another studio may have mapped a file of that name
            sync_file(written.with_suffix(suffix))  # what is measured of it outlives a power failure too
            written.with_suffix(suffix).replace(path.with_suffix(suffix))
    finally:
        for suffix in (".bin", ".xml"):
            written.with_suffix(suffix).unlink(missing_ok=True)


def _is_in_bfloat16(model: Any) -> bool:
    import openvino

    return model.output(0).get_element_type() == openvino.Type.bf16


def _loosen_shape(shape: Sequence[int]) -> list[int]:
    """The shape with every length free (-1) that depends on the job: all but the channels."""
    loose = [-1] * len(shape)
    if len(shape) in (2, 3):
        loose[-1] = shape[-1]
    if len(shape) == 4:
        loose[1] = shape[1]
    return loose

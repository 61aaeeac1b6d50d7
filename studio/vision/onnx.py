"""Networks in ONNX, on the CPU, with onnxruntime's complaints in the studio's words."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio.core.errors import ModelBroken


def open_session(path: Path, data: bytes | None = None) -> Any:
    """The network in the file at `path`, or in `data` where the file was changed on the way in; safe from several
    threads at once.

    Raises:
        ModelBroken: not such a file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised, too
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # threads that wait take no core from others
    with _map_errors(path.name):
        return onnxruntime.InferenceSession(path if data is None else data, options, providers=["CPUExecutionProvider"])


def run_network(network: Any, pixels: Any, name: str) -> list[Any]:
    """The answers to `pixels`, brought to the number format that the network's one input wants. `name` is what an error
    calls it.

    Raises:
        ModelBroken: a network for something else.
    """
    import numpy as np

    entry = network.get_inputs()[0]
    kind = np.float16 if "float16" in entry.type else np.float32
    with _map_errors(name):
        return [np.asarray(answer, np.float32) for answer in network.run(None, {entry.name: pixels.astype(kind)})]


@contextmanager
def _map_errors(name: str) -> Iterator[None]:
    """onnxruntime's errors share no base of their own."""
    said: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    try:
        yield
    except (
        said.Fail,
        said.InvalidArgument,
        said.InvalidGraph,
        said.InvalidProtobuf,
        said.NoSuchFile,
        said.NotImplemented,
        said.RuntimeException,
    ) as error:
        raise ModelBroken(f"The network {name} cannot be used.", hint="Delete it and download it again.") from error

"""How .safetensors files are read: into memory, never as a map of the file.

A mapped file that somebody overwrites takes the process with it (SIGBUS) when it becomes shorter, and changes the model
under its user when it does not. safetensors can read with pread instead, tensor by tensor, so that a file is in memory
once and not twice; diffusers and transformers have no switch for that, so their opener is exchanged here.
"""

from __future__ import annotations

import functools
import importlib
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any

_BACKEND = "pread"
AVERAGES = "model_ema."  # a second UNet in files that training goes on from, which diffusers leaves aside

_wanted_dtype: ContextVar[Any] = ContextVar("the torch dtype that weights are converted to", default=None)


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a .safetensors file by name, on the CPU.

    Raises:
        OSError, safetensors.SafetensorError: not such a file, or one that became shorter meanwhile.
    """
    torch_files: Any = importlib.import_module("safetensors.torch")  # its annotations are incomplete
    return torch_files.load_file(path, backend=_BACKEND)


def read_tensors_where(path: Path, keep: Callable[[str], bool]) -> dict[str, Any]:
    """The tensors whose names `keep` wants; raises as `read_tensors`."""
    safetensors: Any = importlib.import_module("safetensors")
    with safetensors.safe_open(path, framework="pt", backend=_BACKEND) as file:
        names: list[str] = list(file.keys())
        return {name: file.get_tensor(name) for name in names if keep(name)}


def read_tensors_below(path: Path, prefix: str) -> dict[str, Any]:
    """The tensors whose names begin with `prefix`, without it; raises as `read_tensors`."""
    found = read_tensors_where(path, lambda name: name.startswith(prefix))
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


@contextmanager
def use_lowercase_ending(path: Path) -> Generator[Path]:
    """`path` under a name that ends in .safetensors as diffusers wants it, for files written in capitals."""
    if path.suffix == ".safetensors":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, path.stem + ".safetensors")
        link.symlink_to(path.resolve())
        yield link


@contextmanager
def convert_weights(dtype: Any) -> Generator[None]:
    """Within the block diffusers gets the 16-bit weights of a file in the torch dtype `dtype`, converted one by one as
    they are read. Left to itself it reads the whole file first, and holds both until the model is built: up to twice
    the memory that the model takes. Weights in 32 bits are left to it, as some layers keep them."""
    token = _wanted_dtype.set(dtype)
    try:
        yield
    finally:
        _wanted_dtype.reset(token)


def disable_mapping() -> None:
    """Let diffusers and transformers read files as `read_tensors` does, from now on. Call it before each load; only the
    first call does anything."""
    import safetensors.torch
    import transformers.modeling_utils

    for module in (safetensors.torch, transformers.modeling_utils):
        opener = getattr(module, "safe_open")  # noqa: B009 - not among the names that the modules export
        if not isinstance(opener, _UnmappedOpener):
            setattr(module, "safe_open", _UnmappedOpener(opener))  # noqa: B010


class _UnmappedOpener:
    """safetensors' safe_open with the backend that does not map, converting where `convert_weights` asks for it."""

    def __init__(self, opener: Any) -> None:
        self._opener = opener
        functools.update_wrapper(self, opener)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        file = self._opener(*args, **{**kwargs, "backend": _BACKEND})
        dtype = _wanted_dtype.get()
        return file if dtype is None else _ConvertingFile(file, dtype)


class _ConvertingFile:
    """An open file whose tensors in 16 bits, where all are asked for at once, come in `dtype`."""

    def __init__(self, file: Any, dtype: Any) -> None:
        self._file = file
        self._dtype = dtype

    def __enter__(self) -> _ConvertingFile:
        self._file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def get_tensors(self) -> dict[str, Any]:
        """The file's tensors by name, without averages of a training."""
        names = [name for name in self._file.keys() if not name.startswith(AVERAGES)]  # noqa: SIM118 - not iterable
        return {name: self._convert(self._file.get_tensor(name)) for name in names}

    def _convert(self, tensor: Any) -> Any:
        is_in_16_bits = tensor.is_floating_point() and tensor.itemsize == 2
        return tensor.to(self._dtype) if is_in_16_bits else tensor

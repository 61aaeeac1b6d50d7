"""Errors of loading weight files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from studio.core.errors import ModelBroken
from studio.core.weights import WeightFile
from studio.pipelines import device_memory


@contextmanager
def translate_load_errors(file: WeightFile) -> Iterator[None]:
    """Within the block, loading `file` raises ModelBroken where its contents do not fit its header. Running out of
    memory raises what torch raises."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError, TypeError, SafetensorError) as error:
        if device_memory.is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelBroken(
            f"The {file.kind} {file.name} cannot be loaded: {reason}",
            hint="Download it again, or choose another one.",
            details={"file": file.path.name},
        ) from error

"""Errors of loading weight files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from studio.core.errors import ModelBroken
from studio.core.weights import WeightFile
from studio.pipelines import device_memory
from studio.pipelines.load_notices import explain_load_error


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
        raise ModelBroken(
            f"The {file.kind} {file.name} cannot be loaded: {explain_load_error(error)}",
            hint="Download it again, or choose another one.",
            details={"file": file.path.name},
        ) from error

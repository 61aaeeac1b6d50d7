"""Errors of loading weight files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.core.errors import ModelBroken
from studio.core.weights import WeightFile
from studio.pipelines import device_memory
from studio.pipelines.catalog.model_folders import inspect_folder
from studio.pipelines.load_notices import explain_load_error


@contextmanager
def translate_load_errors(file: WeightFile) -> Iterator[None]:
    """Within the block, loading `file` raises ModelBroken where its contents do not fit its header; of a folder it
    names the file that is damaged. Running out of memory raises what torch raises."""
    from safetensors import SafetensorError

    known = (OSError, KeyError, ValueError, RuntimeError, AttributeError, TypeError, SafetensorError)
    try:
        yield
    except Exception as error:
        is_of_tokenizer = type(error) is Exception
        if not (isinstance(error, known) or is_of_tokenizer) or device_memory.is_out_of_memory(error):
            raise
        reason = _find_damage(file.path) or explain_load_error(error)
        if is_of_tokenizer:
            reason = f"Its tokenizer is broken: {reason}"
        raise ModelBroken(
            f"The {file.kind} {file.name} cannot be loaded: {reason}",
            hint="Download it again, or choose another one.",
            details={"file": file.path.name},
        ) from error


def _find_damage(path: Path) -> str:
    """What is wrong with which file of a model's folder, "" where none is found."""
    if not (path / "model_index.json").is_file():
        return ""
    for file in sorted(path.glob("*/*.json")):  # of tokenizers too, which may be larger than settings are
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return f"{file.parent.name}/{file.name} cannot be read."
    return inspect_folder(path).problem

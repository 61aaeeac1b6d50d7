"""Weights that were fetched, read in the two formats that they come in. Nothing here goes to the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import ModelBroken
from studio.core.weight_reading import disable_mapping


def load_state(network: Any, path: Path, *, key: str = "") -> Any:
    """`network` with the state dict in the file (below `key` in it, where given), ready to run.

    Raises:
        ModelBroken: not such a file, or of another network.
    """
    import pickle

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state[key] if key else state
        network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    except (OSError, RuntimeError, KeyError, AttributeError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise _make_broken_error(path) from error
    return network.float().eval()


def load_pretrained(folder: Path, model: str, processor: str) -> tuple[Any, Any]:
    """(model, processor) of the transformers classes of these names, from a folder as transformers saves it.

    Raises:
        ModelBroken: a file is missing, damaged or of another model.
    """
    import transformers

    local: Mapping[str, Any] = {"local_files_only": True}
    load: Callable[..., Any] = getattr(transformers, model).from_pretrained
    prepare: Callable[..., Any] = getattr(transformers, processor).from_pretrained
    disable_mapping()
    try:
        return load(folder, use_safetensors=True, **local).float().eval(), prepare(folder, **local)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise _make_broken_error(folder) from error


def _make_broken_error(path: Path) -> ModelBroken:
    return ModelBroken(
        f"The weights {path.name} cannot be read.",
        hint=f"Delete models/{path.parent.name}/{path.name} and download it again.",
    )

"""Parts of a pipeline that wait in the computer's memory while others run on the graphics card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LAYERS = "layers"  # the choice of the setting


@contextmanager
def offload_parts(pipe: Any, device: str, by: str) -> Iterator[None]:
    """Within the block the parts of `pipe`, which lie in the computer's memory, come to `device` when they run: whole
    models, or single layers, each copied while the one before it computes. Afterwards, also when the run was
    cancelled, everything is in the computer's memory again."""
    put_on, take_off = (
        (_offload_layers, _remove_layer_hooks) if by == LAYERS else (_offload_models, _remove_model_hooks)
    )
    put_on(pipe, device)
    try:
        yield
    finally:
        take_off(pipe)
        pipe.to("cpu")


def _offload_models(pipe: Any, device: str) -> None:
    pipe.enable_model_cpu_offload(device=device)


def _remove_model_hooks(pipe: Any) -> None:
    pipe.remove_all_hooks()


def _offload_layers(pipe: Any, device: str) -> None:
    import torch

    # Copies beside the computation need a stream, and memory that the system does not move, which stays so for the
    # next run.
    pipe.enable_group_offload(
        onload_device=torch.device(device),
        offload_device=torch.device("cpu"),
        offload_type="leaf_level",
        use_stream=device == "cuda",
    )


def _remove_layer_hooks(pipe: Any) -> None:
    """Take off what `enable_group_offload` put on; diffusers has no call for it."""
    import torch
    from diffusers.hooks import group_offloading
    from diffusers.hooks.hooks import HookRegistry

    names = (
        group_offloading._GROUP_OFFLOADING,
        group_offloading._LAYER_EXECUTION_TRACKER,
        group_offloading._LAZY_PREFETCH_GROUP_OFFLOADING,
    )
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            registry = HookRegistry.check_if_exists_or_initialize(part)
            for name in names:
                registry.remove_hook(name, recurse=True)

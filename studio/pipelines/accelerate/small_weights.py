"""Denoisers whose weights are kept in fewer bits than they are computed in, cast layer by layer: diffusers' layerwise
casting."""

from __future__ import annotations

import dataclasses
from typing import Any

from studio.core.ports import LoadOptions

STORAGE = "float8_e4m3fn"
EXACT_STORAGES = ("float16", "bfloat16")  # of weights that were written so: no image changes by them


def find_denoiser(pipe: Any) -> Any:
    """The network of a pipeline that takes most of its memory, None where it has none of the usual names."""
    return getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)


def choose_read_options(options: LoadOptions) -> LoadOptions:
    """How a file is read whose denoiser is to be kept as `options` say: weights that stay in 16 bits are never in
    memory in 32."""
    if options.storage in EXACT_STORAGES:
        return dataclasses.replace(options, dtype=options.storage, storage="")
    return options


def keep_weights_small(pipe: Any, options: LoadOptions) -> None:
    """Keep the weights of `pipe`'s denoiser in `options.storage` and compute in `options.dtype`.

    In 8 bits norms and embeddings, which need more, stay as they are, and so does a denoiser whose file had them small
    and that is kept so already. In 16 bits all layers are kept as they were read, and everything else of the pipeline
    is widened.
    """
    import torch

    network = find_denoiser(pipe)
    storage, computed = getattr(torch, options.storage), getattr(torch, options.dtype)
    if options.storage in EXACT_STORAGES:
        _keep_layers(pipe, network, storage, computed)
    elif network is not None and all(weight.itemsize > 1 for weight in network.parameters()):
        network.enable_layerwise_casting(storage, computed)


def _keep_layers(pipe: Any, network: Any, storage: Any, computed: Any) -> None:
    import torch
    from diffusers.hooks.layerwise_casting import apply_layerwise_casting

    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module) and part is not network:
            part.to(computed)
    apply_layerwise_casting(network, storage, computed, skip_modules_pattern=())
    for module in network.modules():
        if hasattr(module, "_diffusers_hook"):
            continue
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(computed)

"""Denoisers whose weights are kept in 8 bits and computed in more, layer by layer: diffusers' layerwise casting."""

from __future__ import annotations

from typing import Any

from studio.core.ports import LoadOptions

STORAGE = "float8_e4m3fn"


def keep_weights_small(pipe: Any, options: LoadOptions) -> None:
    """Keep the weights of `pipe`'s denoiser in `options.storage`, unless their file had them small and they are kept so
    already. Norms and embeddings, which need more, stay as they are."""
    import torch

    network = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if network is not None and all(weight.itemsize > 1 for weight in network.parameters()):
        network.enable_layerwise_casting(getattr(torch, options.storage), getattr(torch, options.dtype))

"""Textures that continue beyond their edges: convolutions that see the opposite edge there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def wrap_edges(*networks: Any) -> Iterator[None]:
    """Within the block the convolutions of `networks` pad an image with what lies at its opposite edge, so that the
    results fit together side by side."""
    import torch

    changed = [
        module
        for network in networks
        for module in network.modules()
        if isinstance(module, torch.nn.Conv2d) and module.padding_mode == "zeros"
    ]
    for module in changed:
        module.padding_mode = "circular"
    try:
        yield
    finally:
        for module in changed:
            module.padding_mode = "zeros"

"""Several worker processes that train one model: on a CPU they use the cores better than threads within one process."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist

from .paths import STATE

RENDEZVOUS_FILE = STATE / "workers"


def join_workers(rank: int, workers: int) -> None:
    """Meet the other workers; nothing to do for one alone. The caller of all removes an old meeting file first."""
    if workers > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group("gloo", init_method=f"file://{RENDEZVOUS_FILE}", rank=rank, world_size=workers)


def leave_workers(workers: int) -> None:
    """Part from the other workers."""
    if workers > 1:
        dist.destroy_process_group()


@torch.no_grad()
def average_weights(module: torch.nn.Module, number: float, workers: int) -> float:
    """Replace the module's trained weights by their mean over the workers; returns the mean of the number."""
    if workers == 1:
        return number
    weights = [value for value in module.parameters() if value.requires_grad]
    flat = torch.cat([*(value.flatten() for value in weights), torch.tensor([number])])
    dist.all_reduce(flat)
    flat /= workers
    *parts, mean = flat.split([*(value.numel() for value in weights), 1])
    for value, part in zip(weights, parts, strict=True):
        value.copy_(part.view_as(value))
    return mean.item()

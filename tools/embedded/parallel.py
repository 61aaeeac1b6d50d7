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


def average_gradients(module: torch.nn.Module, numbers: list[float], workers: int) -> list[float]:
    """Replace the module's gradients by their mean over the workers; returns the means of the numbers."""
    if workers == 1:
        return numbers
    gradients = [value.grad for value in module.parameters() if value.grad is not None]
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), torch.tensor(numbers)])
    dist.all_reduce(flat)
    flat /= workers
    sizes = [gradient.numel() for gradient in gradients]
    *parts, means = flat.split([*sizes, len(numbers)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return means.tolist()

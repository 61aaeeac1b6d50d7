"""Code that the training stages share: device, precision, learning-rate schedule, running average of weights."""

from __future__ import annotations

import math
from typing import TypeVar

import torch


def get_device() -> torch.device:
    """Return the CUDA device when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


Part = TypeVar("Part", bound=torch.nn.Module)


def move_to_device(module: Part) -> Part:
    """Move a module to the device in use, its convolutions' weights with channels last, and return it."""
    torch.nn.Module.to(module, get_device())
    torch.nn.Module.to(module, memory_format=torch.channels_last)
    return module


def autocast() -> torch.autocast:
    """Return a bfloat16 autocast context for the device in use."""
    return torch.autocast(get_device().type, torch.bfloat16)


def compute_cosine_rate(peak: float, step: int, share: float, warmup: int, floor: float = 0.02) -> float:
    """Return the learning rate: linear warm-up over steps, then a half cosine over the run.

    Args:
        peak: Highest rate.
        step: Steps done, from 0.
        share: Part of the run that is over, 0..1.
        warmup: Steps of the linear rise.
        floor: Share of the peak that is left at the end.
    """
    fall = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return peak * min(1.0, (step + 1) / warmup) * fall


def compute_ema_decay(step: int, limit: float) -> float:
    """Return the decay of the running average after `step` updates: short at first, `limit` in the long run."""
    return min(limit, (1 + step) / (10 + step))


class Ema:
    """Running average of a module's weights, kept in float32 on the module's device."""

    def __init__(self, module: torch.nn.Module, limit: float) -> None:
        self.limit = limit
        self.values = {name: value.detach().clone().float() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int, every: int = 1) -> None:
        """Move the average towards the module's weights, for a call every `every` steps."""
        weight = 1 - compute_ema_decay(step, self.limit) ** every
        current = [value.float() for value in module.state_dict().values()]
        for mean, value in zip(self.values.values(), current, strict=True):
            mean.lerp_(value, weight)

    def copy_to(self, module: torch.nn.Module) -> None:
        """Load the average into the module."""
        module.load_state_dict(self.values)

"""The scheduler of samplers that choose their steps while they run."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from studio.pipelines.run.level_scheduler import LevelScheduler
from studio.pipelines.run.noise_levels import find_timestep
from studio.pipelines.run.sampler_formulas import ADAPTIVE_CALLS, ADAPTIVE_TRIES

if TYPE_CHECKING:
    import torch


class AdaptiveScheduler(LevelScheduler):
    """Has as many timesteps as its formula may take at most and writes each into its place when it is known: a loop
    over them reads it there. With `is_finished` the rest is to be left out.

    The number of steps says alone where an image that is drawn over begins.
    """

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Make room for a run; of the schedule's levels only those count that an image to draw over can begin at."""
        import torch

        levels = self._compute_levels(num_inference_steps)
        self.num_inference_steps = num_inference_steps
        self._first_level, self._lowest = levels[0], levels[-2]
        self._levels = levels
        begins = [self._trained[-1], *levels[1:-1]]
        self._called = [*begins, *[self._lowest] * (ADAPTIVE_CALLS * ADAPTIVE_TRIES)]
        self.sigmas = torch.tensor([*self._called, 0.0], dtype=torch.float32)
        timesteps = [find_timestep(level, self._trained) for level in [*begins, self._lowest]]
        timesteps += timesteps[-1:] * (len(self._called) - len(timesteps))
        self.timesteps = torch.tensor(timesteps, dtype=torch.float32, device=device)
        self.is_finished, self.share_done = False, 0.0
        self._begin = self._calls_done = self._steps = self._exact = None
        self._first_call = 0

    def step(
        self,
        model_output: torch.Tensor,
        timestep: Any,
        sample: torch.Tensor,
        generator: Any = None,
        return_dict: bool = True,
    ) -> Any:
        """As LevelScheduler's; after the end it returns `sample`."""
        if not self.is_finished:
            return super().step(model_output, timestep, sample, generator, return_dict)
        return SimpleNamespace(prev_sample=sample, pred_original_sample=self.clean) if return_dict else (sample,)

    def _start(self, latents: torch.Tensor, call: int, generator: Any) -> None:
        low = self._trained[0] if self._begin is None else self._lowest
        self._levels = [self._called[call], low, 0.0]
        self._first_call = call
        super()._start(latents, 0, generator)

    def _plan_call(self, call: int, level: float | None) -> None:
        if level is None:
            self.is_finished, self.share_done = True, 1.0
            self.sigmas[call] = 0.0
            return
        self._called[call] = level
        self.sigmas[call] = level
        self.timesteps[call] = find_timestep(level, self._trained)
        high, low, _ = self._levels
        if (call - self._first_call) % ADAPTIVE_CALLS == 0:
            self.share_done = min(1.0, math.log(high / level) / math.log(high / low))

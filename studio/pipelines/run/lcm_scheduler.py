"""The scheduler of consistency sampling over any schedule, as AUTOMATIC1111 does it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from studio.pipelines.run.level_scheduler import LevelScheduler
from studio.pipelines.run.noise_levels import TABLES, compute_levels

if TYPE_CHECKING:
    import torch

_DISTILLED_STEPS = 50
_DATA_SPREAD = 0.5  # of the distillation's boundary condition, with timesteps counted tenfold
_TIMESTEP_SCALE = 10.0


class LcmScheduler(LevelScheduler):
    """Knows those levels alone that latent consistency models are distilled at, 50 of the checkpoint's: a schedule is
    computed over them, and a call is made at the timestep of the nearest one."""

    def _list_trained_levels(self) -> list[float]:
        self._whole = super()._list_trained_levels()
        self._stride = max(1, len(self._whole) // _DISTILLED_STEPS)
        return self._whole[self._stride - 1 :: self._stride]

    def _compute_levels(self, steps: int) -> list[float]:
        schedule = self.config["schedule"]
        if schedule in TABLES:  # which are made for all levels
            return compute_levels(schedule, steps, self._whole, xl=self.config["xl"])
        return super()._compute_levels(steps)

    def _find_timestep(self, level: float) -> float:
        """The timestep of the level nearest in log space, the lower one of two."""
        away = [abs(math.log(level / one)) for one in self._trained]
        return float((away.index(min(away)) + 1) * self._stride - 1)

    def _predict_clean(self, output: torch.Tensor, sample: torch.Tensor, level: float) -> torch.Tensor:
        """Mixed with the latents themselves by the boundary condition: at timestep 0 nothing is left to remove."""
        time = self._find_timestep(level) * _TIMESTEP_SCALE
        spread = time**2 + _DATA_SPREAD**2
        clean = super()._predict_clean(output, sample, level)
        return clean * (time / math.sqrt(spread)) + sample * (_DATA_SPREAD**2 / spread)

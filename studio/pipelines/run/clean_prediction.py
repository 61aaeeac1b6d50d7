"""What a UNet's answer says of the image without noise, and the answer that would say something else."""

from __future__ import annotations

import math
from typing import Any


class CleanPrediction:
    """Predictions at the noise levels of a checkpoint. Latents are as the UNet is given them: divided by the spread
    that they have at their level."""

    def __init__(self, scheduler: Any) -> None:
        """Take levels and prediction type from a scheduler of the checkpoint."""
        alphas = scheduler.alphas_cumprod.clamp(min=2**-24)  # the last one is 0 where training went to pure noise
        self._logs: list[float] = (((1 - alphas) / alphas) ** 0.5).log().tolist()
        self._kind = str(scheduler.config.prediction_type)

    def find_level(self, timestep: Any) -> float:
        """The noise level of a timestep, which may lie between two that were trained."""
        last = len(self._logs) - 1
        place = min(max(float(timestep.flatten()[0] if hasattr(timestep, "flatten") else timestep), 0.0), float(last))
        low = min(int(place), last - 1)
        return math.exp(self._logs[low] + (place - low) * (self._logs[low + 1] - self._logs[low]))

    def predict_clean(self, latents: Any, answer: Any, level: float) -> Any:
        """The image without noise, as latents, by what the UNet answered for `latents`."""
        if self._kind == "epsilon":
            return latents * math.sqrt(level**2 + 1) - level * answer
        if self._kind == "v_prediction":
            return (latents - level * answer) / math.sqrt(level**2 + 1)
        return answer  # "sample"

    def find_answer(self, latents: Any, clean: Any, level: float) -> Any:
        """The answer that predicts `clean`: the inverse of `predict_clean`."""
        if self._kind == "epsilon":
            return (latents * math.sqrt(level**2 + 1) - clean) / level
        if self._kind == "v_prediction":
            return (latents - clean * math.sqrt(level**2 + 1)) / level
        return clean

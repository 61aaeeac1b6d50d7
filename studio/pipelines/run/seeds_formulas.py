"""SEEDS (arXiv:2305.14267) and the exponential Heun method as ComfyUI has them, as generators like those of
`sampler_formulas`.

Within a step the noise is one path: what is added at its end goes on from what was added inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from studio.pipelines.run.sampler_formulas import Latents, Noise, Steps


def sample_seeds_2(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """SEEDS-2, with a call at the geometric middle of each step."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        if then == 0:
            return clean
        middle = math.sqrt(now * then)
        path = _Path(now, noise)
        _, inside = yield _step(x, now, middle, clean) + path.move_to(middle), middle
        x = _step(x, now, then, inside) + path.move_to(then)
    return x


def sample_seeds_3(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """SEEDS-3, with calls at a third and two thirds of each step in the logarithm."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        if then == 0:
            return clean
        first, second = (now ** (1 - part) * then**part for part in (1 / 3, 2 / 3))
        path = _Path(now, noise)
        _, inside = yield _step(x, now, first, clean) + path.move_to(first), first
        mixed = clean + _lean(now, second) * 2 * (inside - clean)
        _, inside = yield _step(x, now, second, mixed) + path.move_to(second), second
        mixed = clean + _lean(now, then) * 3 / 2 * (inside - clean)
        x = _step(x, now, then, mixed) + path.move_to(then)
    return x


def sample_exp_heun(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Heun's method for predictions without noise, exact where they do not change."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        if then == 0:
            return clean
        share = then / now
        _, ahead = yield share * x + (1 - share) * clean, then
        h = math.log(now / then)
        x = share * x + (1 - share) * clean + (1 + math.expm1(-h) / h) * (ahead - clean)
    return x


def sample_exp_heun_sde(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """The same for the stochastic equation."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        if then == 0:
            return clean
        path = _Path(now, noise)
        added = path.move_to(then)
        _, ahead = yield _step(x, now, then, clean) + added, then
        noise(then, then)  # ComfyUI draws for the way from there to there too
        x = _step(x, now, then, clean + _lean(now, then) * (ahead - clean)) + added
    return x


class _Path:
    """The noise of one step, drawn as far as it is needed."""

    def __init__(self, now: float, noise: Noise) -> None:
        self._start = self._at = now
        self._noise = noise
        self._unit: Latents = 0.0

    def move_to(self, level: float) -> Latents:
        """What is added to latents at that level, below the last one asked for."""
        drawn = self._noise(self._at, level) * math.sqrt(-math.expm1(2 * math.log(level / self._at)))
        self._unit = self._unit * (level / self._at) + drawn
        self._at = level
        return self._unit * level


def _step(x: Latents, now: float, then: float, clean: Latents) -> Latents:
    """The latents at a lower level, before noise is added, if the prediction is `clean` all the way."""
    share = (then / now) ** 2
    return share * x + (1 - share) * clean


def _lean(now: float, then: float) -> float:
    """What a change of the prediction over the step weighs in its end, where it changes evenly."""
    wide = 2 * math.log(now / then)
    return (1 + math.expm1(-wide) / wide) / -math.expm1(-wide)

"""UniPC (arXiv:2302.04867) over noise levels, as a generator like those of `sampler_formulas`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from studio.pipelines.run.sampler_formulas import Latents, Noise, Steps

_MAX_ORDER = 3
_LAST_LEVEL = 0.001  # in place of 0, whose logarithm is not finite; ComfyUI's


def sample_unipc(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """UniPC of third order with the first of its two scales (`bh1`), which AUTOMATIC1111 and ComfyUI take."""
    return _sample_unipc(x, levels, bh1=True)


def sample_unipc_bh2(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """UniPC of third order with the second scale."""
    return _sample_unipc(x, levels, bh1=False)


def _sample_unipc(x: Latents, levels: Sequence[float], *, bh1: bool) -> Steps:
    ends = [level or _LAST_LEVEL for level in levels]
    steps = len(ends) - 1
    most = min(_MAX_ORDER, max(1, steps - 1))
    past: list[tuple[float, Latents]] = []  # (level, prediction), newest first
    x, clean = yield x, ends[0]
    for step in range(1, steps + 1):
        past = [(ends[step - 1], clean), *past[: _MAX_ORDER - 1]]
        used = past[: step if step < most else min(most, steps + 1 - step)]
        predictor, corrector = _weigh_changes([level for level, _ in used], ends[step], bh1=bh1)
        share = ends[step] / used[0][0]
        newest = used[0][1]
        begun = share * x + (1 - share) * newest
        changes = [prediction - newest for _, prediction in used[1:]]
        ahead = begun + sum(weight * change for weight, change in zip(predictor, changes, strict=True))
        if step == steps:
            return ahead
        given, clean = yield ahead, ends[step]
        changes.append(clean - newest)
        corrected = begun + sum(weight * change for weight, change in zip(corrector, changes, strict=True))
        x = corrected + (given - ahead)  # inpainting may have changed what it was given
    return x


def _weigh_changes(known: Sequence[float], then: float, *, bh1: bool) -> tuple[list[float], list[float]]:
    """What the changes from the newest prediction weigh in a step from its level to `then`: those to the older ones
    for the predictor, and to these and the one at `then` for the corrector. `known` are the levels, newest first."""
    import numpy as np

    order = len(known)
    h = math.log(known[0] / then)
    ratios = np.array([*(math.log(known[0] / level) / h for level in known[1:]), 1.0])
    scale = -h if bh1 else math.expm1(-h)
    wanted: list[float] = []
    phi, factorial = math.expm1(-h) / -h - 1, 1
    for i in range(1, order + 1):
        wanted.append(phi * factorial / scale)
        factorial *= i + 1
        phi = phi / -h - 1 / factorial
    powers = np.vander(ratios, order, increasing=True).T
    whole = np.array([0.5]) if order == 1 else np.linalg.solve(powers, np.array(wanted))
    part = np.array([0.5] * (order - 1)) if order < _MAX_ORDER else np.linalg.solve(powers[:-1, :-1], wanted[:-1])
    return (-scale * part / ratios[:-1]).tolist(), (-scale * whole / ratios).tolist()

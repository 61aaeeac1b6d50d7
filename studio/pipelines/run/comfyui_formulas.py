"""The samplers that ComfyUI has beside k-diffusion's, as generators like those of `sampler_formulas`.

Formulas: RES (arXiv:2308.02157), gradient estimation (2306.04848), DEIS (2204.13902), extended reverse-time SDEs
(2309.06169), as ComfyUI parametrises them, so that a recipe gives the same image there and here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from studio.pipelines.run.sampler_formulas import Latents, Noise, Steps, mix_slopes

_ER_POINTS = 200  # of the sums that stand for ER-SDE's integrals
_DEIS_POINTS = 32  # of Gauss and Legendre's rule; a step's integral is smooth
_DEIS_RANGE = (0.002, 80.0, 0.001)  # the levels and the least time that DEIS's time is made for


def sample_heunpp2(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Heun's method with three slopes a step but for the last two steps, weighted as ComfyUI's HeunPP2 does."""
    for i, (now, then) in enumerate(pairwise(levels)):
        x, clean = yield x, now
        slope = (x - clean) / now
        left = len(levels) - 2 - i
        if left == 0:
            return x + slope * (then - now)
        ahead, clean = yield x + slope * (then - now), then
        second_slope = (ahead - clean) / then
        if left == 1:
            second = then / (2 * levels[0])
            mixed = slope * (1 - second) + second_slope * second
        else:
            after = levels[i + 2]
            further, clean = yield ahead + second_slope * (after - then), after
            second, third = then / (3 * levels[0]), after / (3 * levels[0])
            mixed = slope * (1 - second - third) + second_slope * second + (further - clean) / after * third
        x = x + mixed * (then - now)
    return x


def sample_ipndm(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Improved pseudo-linear multistep of up to fourth order (arXiv:2204.13902), for steps of any length."""
    slopes: list[Latents] = []
    for now, then in pairwise(levels):
        x, clean = yield x, now
        slopes = [(x - clean) / now, *slopes[:3]]
        if then == 0:
            return clean
        x = x + mix_slopes(slopes) * (then - now)
    return x


def sample_ipndm_v(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """The same with weights for the steps' own lengths."""
    slopes: list[Latents] = []
    for i, (now, then) in enumerate(pairwise(levels)):
        x, clean = yield x, now
        slopes = [(x - clean) / now, *slopes[:3]]
        if then == 0:
            return clean
        moves = [levels[i + 1 - j] - levels[i - j] for j in range(len(slopes))]  # the newest first
        weights = _weigh_uneven_slopes(moves)
        x = x + sum(weight * slope for weight, slope in zip(weights, slopes, strict=True)) * (then - now)
    return x


def _weigh_uneven_slopes(moves: Sequence[float]) -> list[float]:
    """The weights of up to four slopes by the lengths of their steps, the newest first. The third order's share is
    ComfyUI's, which is not quite that of Adams and Bashforth's method."""
    weights = [1.0, 0.0, 0.0, 0.0]
    if len(moves) > 1:
        h, h1 = moves[:2]
        weights[0] += h / (2 * h1)
        weights[1] -= h / (2 * h1)
    if len(moves) > 2:
        h, h1, h2 = moves[:3]
        third = (1 - h**2 / (3 * h1 * (h1 + h2))) / 2
        weights[0] += third
        weights[1] -= (1 + h1 / h2) * third
        weights[2] += third * h1 / h2
    if len(moves) > 3:
        h, h1, h2, h3 = moves
        two, three = h + h1, h + h1 + h2
        fourth = (1 - h / (3 * two)) / 2 + (1 - h / (2 * two)) * h / (6 * three)
        fourth *= h * two * three / (h1 * (h1 + h2) * (h1 + h2 + h3))
        bend = h1 * (h1 + h2) / (h2 * (h2 + h3))
        weights[0] += fourth
        weights[1] -= (1 + h1 / h2 + bend) * fourth
        weights[2] += (h1 / h2 + bend * (1 + h2 / h3)) * fourth
        weights[3] -= bend * h1 / h2 * fourth
    return weights[: len(moves)]


def sample_deis(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DEIS of up to third order: the slopes extrapolated by a polynomial in its time."""
    slopes: list[Latents] = []
    for i, (now, then) in enumerate(pairwise(levels)):
        x, clean = yield x, now
        slopes = [(x - clean) / now, *slopes[:2]]
        if then == 0:
            return clean
        weights = _integrate_slopes([levels[i - j] for j in range(len(slopes))], then)
        x = x + sum(weight * slope for weight, slope in zip(weights, slopes, strict=True))
    return x


def _integrate_slopes(known: Sequence[float], then: float) -> list[float]:
    """What the slopes at the `known` levels, the newest first, weigh in the step from the newest to `then`."""
    import numpy as np

    low, high, least = _DEIS_RANGE
    bottom, top = math.log(low**2 + 1), math.log(high**2 + 1)
    rise = 2 * (bottom / least - top) / (least - 1)
    start = top - rise / 2
    times = [(math.sqrt(start**2 + 2 * rise * math.log(level**2 + 1)) - start) / rise for level in (*known, then)]
    nodes, shares = np.polynomial.legendre.leggauss(_DEIS_POINTS)
    half = (times[-1] - times[0]) / 2
    at = times[0] + half * (nodes + 1)
    spread = np.exp(rise * at**2 / 2 + start * at)  # 1 + level²
    change = (rise * at + start) * spread / (2 * np.sqrt(spread - 1)) * shares * half
    weights = []
    for time in times[:-1]:
        basis = np.prod([(at - other) / (time - other) for other in times[:-1] if other != time], axis=0)
        weights.append(float((change * basis).sum()))
    return weights


def sample_er_sde(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """The extended reverse-time SDE solver of up to third order."""
    past: list[tuple[float, Latents, Latents]] = []  # (level, prediction, its change by the level), newest first
    for now, then in pairwise(levels):
        x, clean = yield x, now
        if then == 0:
            return clean
        kept = _scale_er_noise(then) / _scale_er_noise(now)
        x = kept * x + (1 - kept) * clean
        change = None
        if past:
            first, second = _integrate_er_noise(now, then)
            change = (clean - past[0][1]) / (now - past[0][0])
            x = x + first * change
            if len(past) > 1:
                x = x + second * 2 * (change - past[0][2]) / (now - past[1][0])
        x = x + noise(now, then) * math.sqrt(max(0.0, then**2 - (now * kept) ** 2))
        past = [(now, clean, change), *past[:1]]
    return x


def _scale_er_noise(level: float) -> float:
    return level * (math.exp(level**0.3) + 10)


def _integrate_er_noise(now: float, then: float) -> tuple[float, float]:
    """What the first and the second change of the prediction by the level weigh in a step."""
    width = (now - then) / _ER_POINTS
    places = [then + i * width for i in range(_ER_POINTS)]
    first = sum(width / _scale_er_noise(place) for place in places)
    second = sum(width * (place - now) / _scale_er_noise(place) for place in places)
    scale = _scale_er_noise(then)
    return then - now + first * scale, (then - now) ** 2 / 2 + second * scale


def sample_lcm(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Consistency sampling: the prediction, with fresh noise up to the next level."""
    for now, then in pairwise(levels):
        _, x = yield x, now
        if then > 0:
            x = x + noise(now, then) * then
    return x

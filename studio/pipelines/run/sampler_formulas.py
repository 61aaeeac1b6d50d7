"""The samplers of k-diffusion, each as a generator over noise levels.

A generator is given the noisy latents, the noise levels (descending floats, the last usually 0) and a source of noise.
It yields `(latents, level)` whenever the model has to be called and is sent `(latents, clean)` back: the latents as
they were (inpainting may have changed them) and the model's prediction without noise. It returns the final latents. The
number and the levels of the calls depend on the noise levels alone, never on the values, but for DPM adaptive.

Formulas: Karras et al. 2022 (arXiv:2206.00364), DPM-Solver (2206.00927), DPM-Solver++ (2211.01095) and Restart
(2306.14878), as k-diffusion and AUTOMATIC1111 parametrise them, so that a recipe gives the same image there and here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from itertools import pairwise
from typing import Any

Latents = Any  # torch.Tensor; torch is not imported for a table of names
Noise = Callable[[float, float], Latents]
"""Unit noise for a move from one level to the next, shaped as the latents."""
Steps = Generator[tuple[Latents, float], tuple[Latents, ...], Latents]
Formula = Callable[[Latents, Sequence[float], Noise], Steps]

ADAPTIVE_CALLS, ADAPTIVE_TRIES = 3, 500
_FIRST_LENGTH = 0.05  # of a step, in the logarithm of the level; as all of these k-diffusion's
_RELATIVE_ERROR, _ABSOLUTE_ERROR = 0.05, 0.0078
_NOISY_ORDER = 1.5  # that the solver counts as with fresh noise
_LEAST_FACTOR = 0.81  # a step that would have to be shorter is made again
_SAME_LEVEL = 1e-5


def split_ancestral_step(now: float, then: float, eta: float = 1.0) -> tuple[float, float]:
    """The level to step down to, and how much noise to add to arrive at `then`."""
    if not eta:
        return then, 0.0
    added = min(then, eta * math.sqrt(then**2 * (now**2 - then**2) / now**2))
    return math.sqrt(then**2 - added**2), added


def sample_euler(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Euler's method."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        x = x + (x - clean) / now * (then - now)
    return x


def sample_euler_ancestral(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Euler's method with fresh noise after each step."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        down, added = split_ancestral_step(now, then)
        x = x + (x - clean) / now * (down - now)
        if then > 0:
            x = x + noise(now, then) * added
    return x


def _step_heun(x: Latents, now: float, then: float) -> Steps:
    x, clean = yield x, now
    slope = (x - clean) / now
    ahead = x + slope * (then - now)
    if then == 0:
        return ahead
    ahead, clean = yield ahead, then
    return x + (slope + (ahead - clean) / then) / 2 * (then - now)


def sample_heun(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Heun's method: two calls a step, the last one Euler's."""
    for now, then in pairwise(levels):
        x = yield from _step_heun(x, now, then)
    return x


def sample_lms(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Linear multistep of up to fourth order."""
    slopes: list[Latents] = []
    for i, now in enumerate(levels[:-1]):
        x, clean = yield x, now
        slopes = [(x - clean) / now, *slopes[:3]]
        weights = [_integrate_basis(levels, i, j, len(slopes)) for j in range(len(slopes))]
        x = x + sum(weight * slope for weight, slope in zip(weights, slopes, strict=True))
    return x


def _integrate_basis(levels: Sequence[float], i: int, j: int, order: int) -> float:
    """The integral over step `i` of the Lagrange polynomial that is 1 at level `i - j`, 0 at the others of `order`."""
    from numpy.polynomial import Polynomial

    basis = Polynomial([1.0])
    for k in range(order):
        if k != j:
            basis *= Polynomial([-levels[i - k], 1.0]) / (levels[i - j] - levels[i - k])
    whole = basis.integ()
    return float(whole(levels[i + 1]) - whole(levels[i]))


def sample_dpm2(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver-2: the slope at the geometric middle of the step."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        slope = (x - clean) / now
        if then == 0:
            x = x + slope * (then - now)
            continue
        middle = math.sqrt(now * then)
        inside, clean = yield x + slope * (middle - now), middle
        x = x + (inside - clean) / middle * (then - now)
    return x


def sample_dpm2_ancestral(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver-2 with fresh noise after each step."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        slope = (x - clean) / now
        down, added = split_ancestral_step(now, then)
        if down == 0:
            x = x + slope * (down - now)
            continue
        middle = math.sqrt(now * down)
        inside, clean = yield x + slope * (middle - now), middle
        x = x + (inside - clean) / middle * (down - now) + noise(now, then) * added
    return x


def sample_dpmpp_2s_ancestral(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2S) with fresh noise after each step."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        down, added = split_ancestral_step(now, then)
        if down == 0:
            x = x + (x - clean) / now * (down - now)
        else:
            middle = math.sqrt(now * down)
            _, clean = yield middle / now * x + (1 - middle / now) * clean, middle
            x = down / now * x + (1 - down / now) * clean
        if then > 0:
            x = x + noise(now, then) * added
    return x


def sample_dpmpp_sde(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++ for the stochastic equation, with a call in the middle of each step."""
    for now, then in pairwise(levels):
        x, clean = yield x, now
        if then == 0:
            x = x + (x - clean) / now * (then - now)
            continue
        start, middle, end = _compute_sde_levels(now, then)
        down, added = split_ancestral_step(now, middle)
        inside = down / now * x + (1 - down / now) * clean + noise(start, middle) * added
        inside, clean = yield inside, middle
        down, added = split_ancestral_step(now, then)
        x = down / now * x + (1 - down / now) * clean + noise(start, end) * added
    return x


def _compute_sde_levels(now: float, then: float) -> tuple[float, float, float]:
    """The levels at the start, the geometric middle and the end of a step, rounded as k-diffusion's way over logarithms
    rounds them: its Brownian noise depends on the last bit."""
    import torch

    start, end = (-torch.tensor([now, then]).log()).unbind()
    start, middle, end = torch.stack((start, start + (end - start) * 0.5, end)).neg().exp().tolist()
    return start, middle, end


def sample_dpmpp_2m(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2M): one call a step, the previous prediction kept."""
    before, last = None, 0.0
    for now, then in pairwise(levels):
        x, clean = yield x, now
        if then == 0:
            return clean
        h = math.log(now / then)
        leaning = clean if before is None else clean + (clean - before) * h / (2 * last)
        x = then / now * x + (1 - then / now) * leaning
        before, last = clean, h
    return x


def _sample_dpmpp_2m_sde(x: Latents, levels: Sequence[float], noise: Noise, *, heun: bool) -> Steps:
    before, last = None, 0.0
    for now, then in pairwise(levels):
        x, clean = yield x, now
        if then == 0:
            return clean
        h = math.log(now / then)
        gain = -math.expm1(-2 * h)
        x = then / now * math.exp(-h) * x + gain * clean
        if before is not None:
            share = (1 - gain / (2 * h)) if heun else gain / 2
            x = x + share * h / last * (clean - before)
        x = x + noise(now, then) * then * math.sqrt(-math.expm1(-2 * h))
        before, last = clean, h
    return x


def sample_dpmpp_2m_sde(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2M) for the stochastic equation, midpoint rule."""
    return _sample_dpmpp_2m_sde(x, levels, noise, heun=False)


def sample_dpmpp_2m_sde_heun(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2M) for the stochastic equation, Heun's rule."""
    return _sample_dpmpp_2m_sde(x, levels, noise, heun=True)


def sample_dpmpp_3m_sde(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(3M) for the stochastic equation."""
    past: list[tuple[Latents, float]] = []  # (prediction, log step after it), newest first
    for now, then in pairwise(levels):
        x, clean = yield x, now
        if then == 0:
            return clean
        h = math.log(now / then)
        double = 2 * h
        x = math.exp(-double) * x - math.expm1(-double) * clean
        first = math.expm1(-double) / double + 1
        if past:
            r0 = past[0][1] / h
            d0 = (clean - past[0][0]) / r0
            if len(past) == 1:
                x = x + first * d0
            else:
                r1 = past[1][1] / h
                d1 = (past[0][0] - past[1][0]) / r1
                bend = (d0 - d1) / (r0 + r1)
                x = x + first * (d0 + bend * r0) - (first / double - 0.5) * bend
        x = x + noise(now, then) * then * math.sqrt(-math.expm1(-double))
        past = [(clean, h), *past[:1]]
    return x


def sample_dpm_fast(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver-Fast: as many calls as there are levels, spread over steps of third and lower order. Only the first
    and the last level above 0 count; the steps between lie evenly in log space."""
    calls = len(levels) - 1
    high, low = levels[0], min(level for level in levels if level > 0)
    count = calls // 3 + 1
    orders = [3] * (count - 2) + [2, 1] if calls % 3 == 0 else [3] * (count - 1) + [calls % 3]
    ends = [high * (low / high) ** (i / count) for i in range(count + 1)]
    for order, now, then in zip(orders, ends, ends[1:], strict=False):
        down = max(low, split_ancestral_step(now, then)[0])
        x = yield from _step_dpm_solver(x, now, down, order)
        x = x + noise(now, then) * math.sqrt(max(0.0, then**2 - down**2))
    return x


def _step_dpm_solver(x: Latents, now: float, then: float, order: int) -> Steps:
    """One step of DPM-Solver of the given order, 1 to 3, in its noise form."""
    if order == 3:
        return (yield from _step_third_order(x, now, then))[1]
    h = math.log(now / then)
    x, clean = yield x, now
    slope = (x - clean) / now
    if order == 1:
        return x - then * math.expm1(h) * slope
    middle = now * math.exp(-h / 2)
    inside, clean = yield x - middle * math.expm1(h / 2) * slope, middle
    change = (inside - clean) / middle - slope
    return x - then * math.expm1(h) * slope - then * math.expm1(h) * change


def _step_third_order(
    x: Latents, now: float, then: float
) -> Generator[tuple[Latents, float], tuple[Latents, Latents], tuple[Latents, Latents]]:
    """One step of DPM-Solver of third order: what its first two calls give by the second order, and its own result."""
    h = math.log(now / then)
    x, clean = yield x, now
    slope = (x - clean) / now
    near, far = 1 / 3, 2 / 3
    middle = now * math.exp(-near * h)
    inside, clean = yield x - middle * math.expm1(near * h) * slope, middle
    change = (inside - clean) / middle - slope
    second = x - then * math.expm1(h) * slope - then / (2 * near) * math.expm1(h) * change
    later = now * math.exp(-far * h)
    bend = later * (far / near) * (math.expm1(far * h) / (far * h) - 1)
    outside, clean = yield x - later * math.expm1(far * h) * slope - bend * change, later
    change = (outside - clean) / later - slope
    return second, x - then * math.expm1(h) * slope - then / far * (math.expm1(h) / h - 1) * change


def sample_dpm_adaptive(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver-12 with steps as long as the second and the third order agree (a PID controller's integral part), and
    fresh noise after each. Only the first and the last level above 0 count. The number of calls depends on the values:
    `ADAPTIVE_CALLS` for each of at most `ADAPTIVE_TRIES` steps, of which the last goes to the end."""
    now, low = levels[0], min(level for level in levels if level > 0)
    length, before = _FIRST_LENGTH, x
    if now <= low * (1 + _SAME_LEVEL):
        x, clean = yield x, now
        return clean
    for left in reversed(range(ADAPTIVE_TRIES)):
        then = max(low, now * math.exp(-length)) if left else low
        down = max(low, split_ancestral_step(now, then)[0])
        second, third = yield from _step_third_order(x, now, down)
        factor = _compute_length_factor(before, second, third)
        if left and factor < _LEAST_FACTOR:
            length *= factor
            continue
        x = third + noise(now, then) * math.sqrt(max(0.0, then**2 - down**2))
        if then <= low * (1 + _SAME_LEVEL) or math.isnan(factor):
            break
        now, before, length = then, second, length * factor
    return x


def _compute_length_factor(before: Latents, second: Latents, third: Latents) -> float:
    """By how much the next step may be longer than one whose two orders came to these results."""
    import torch

    allowed = (_RELATIVE_ERROR * torch.maximum(second.abs(), before.abs())).clamp(min=_ABSOLUTE_ERROR)
    error = float(((second - third) / allowed).square().mean().sqrt())
    return 1 + math.atan((1 / (error + 1e-8)) ** (1 / _NOISY_ORDER) - 1)


def sample_restart(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Restart sampling (arXiv:2306.14878) over Heun's steps, with AUTOMATIC1111's numbers of restarts."""
    last = None
    for now, then in _plan_restarts(levels):
        if last is not None and last < now:
            x = x + noise(last, now) * math.sqrt(now**2 - last**2)
        x = yield from _step_heun(x, now, then)
        last = then
    return x


def _plan_restarts(levels: Sequence[float]) -> list[tuple[float, float]]:
    """The moves from level to level; one that begins above the last one's end is a restart."""
    steps = len(levels) - 1
    if steps < 20:
        return list(pairwise(levels))
    again, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    main = make_karras_levels(steps - again * times, levels[-2], levels[0])
    low = min(range(len(main)), key=lambda i: abs(main[i] - 0.1))
    high = min(range(len(main)), key=lambda i: abs(main[i] - 2.0))
    moves = list(pairwise(main[: low + 1]))
    if high < low:
        moves += list(pairwise(make_karras_levels(again + 1, main[low], main[high])[:-1])) * times
    return moves + list(pairwise(main[low:]))


def make_karras_levels(count: int, low: float, high: float, rho: float = 7.0) -> list[float]:
    """`count` levels from `high` to `low`, evenly spaced in their `rho`-th root (Karras et al., 2022), and a 0."""
    import torch

    ends = high ** (1 / rho), low ** (1 / rho)
    return [*((ends[0] + torch.linspace(0, 1, count) * (ends[1] - ends[0])) ** rho).tolist(), 0.0]


def sample_plms(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Pseudo-linear multistep of up to fourth order (arXiv:2202.09778), the first step with two calls."""
    x, clean = yield x, levels[0]
    slope = (x - clean) / levels[0]
    ahead, clean = yield x + slope * (levels[1] - levels[0]), levels[1]
    second = (ahead - clean) / levels[1]
    x = x + (slope + second) / 2 * (levels[1] - levels[0])
    return (yield from _continue_plms(x, levels[1:], [slope]))


def resume_plms(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """The same for an image that is drawn over: without the second call."""
    return (yield from _continue_plms(x, levels, []))


def _continue_plms(x: Latents, levels: Sequence[float], slopes: list[Latents]) -> Steps:
    for now, then in pairwise(levels):
        x, clean = yield x, now
        slopes = [(x - clean) / now, *slopes[:3]]
        x = x + mix_slopes(slopes) * (then - now)
    return x


def mix_slopes(slopes: Sequence[Latents]) -> Latents:
    """The slope of Adams and Bashforth's method for even steps, of as many slopes, the newest first."""
    weights = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
    return sum(weight * slope for weight, slope in zip(weights[len(slopes) - 1], slopes, strict=True))

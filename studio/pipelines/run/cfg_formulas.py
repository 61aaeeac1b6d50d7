"""CFG++ (arXiv:2406.08070) for samplers of ComfyUI, as generators like those of `sampler_formulas`.

These are sent `(latents, clean, other)`: `other` is the prediction without the prompt. Noise is added back along the
way from it, where other samplers take the way from `clean`. Where both predictions are the same, so are the samplers:
`use_one_prediction` makes a plain sampler of one of these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from studio.pipelines.run.sampler_formulas import Latents, Noise, Steps, split_ancestral_step


def use_one_prediction(steps: Steps) -> Steps:
    """The sampler that is sent `(latents, clean)`, without CFG++."""
    call = next(steps)
    while True:
        x, clean = yield call
        try:
            call = steps.send((x, clean, clean))
        except StopIteration as end:
            return end.value


def sample_euler_cfg(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Euler's method with CFG++. Steps to the same level change nothing."""
    for now, then in pairwise(levels):
        x, clean, other = yield x, now
        if now != then:
            x = clean + (x - other) / now * then
    return x


def sample_euler_ancestral_cfg(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Euler's method with CFG++ and fresh noise after each step."""
    for now, then in pairwise(levels):
        x, clean, other = yield x, now
        if then == 0:
            return clean
        down, added = split_ancestral_step(now, then)
        x = clean + (x - other) / now * down + noise(now, then) * added
    return x


def sample_dpmpp_2s_ancestral_cfg(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2S) over the predictions without the prompt, with fresh noise and the guidance added after each
    step."""
    for now, then in pairwise(levels):
        x, clean, other = yield x, now
        guidance = clean - other
        down, added = split_ancestral_step(now, then)
        if down == 0:
            x = other
        else:
            middle = math.sqrt(now * down)
            _, _, other = yield middle / now * x + (1 - middle / now) * other, middle
            x = down / now * x + (1 - down / now) * other
        if then > 0:
            x = x + noise(now, then) * added
        x = x + guidance
    return x


def sample_dpmpp_2m_cfg(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2M) with CFG++."""
    before, last = None, 0.0
    for now, then in pairwise(levels):
        x, clean, other = yield x, now
        if then == 0:
            return clean
        h = math.log(now / then)
        x = clean + then / now * (x - other)
        if before is not None:
            x = x + (1 - then / now) * h / (2 * last) * (clean - before)
        before, last = other, h
    return x


def sample_res_multistep_cfg(x: Latents, levels: Sequence[float], noise: Noise, eta: float = 0.0) -> Steps:
    """The second-order multistep exponential integrator of RES (arXiv:2308.02157) with CFG++; with `eta` above 0 there
    is fresh noise after each step."""
    before, last, last_down = None, 0.0, 0.0
    for now, then in pairwise(levels):
        x, clean, other = yield x, now
        down, added = split_ancestral_step(now, then, eta)
        if before is None or down == 0:
            x = clean + (x - other) / now * down
        else:
            h = math.log(now / down)
            back = math.log(last_down / last) / h
            phi_1 = -math.expm1(-h) / h
            second = (1 - phi_1) / h / back
            x = math.exp(-h) * (x + clean - other) + h * ((phi_1 - second) * other + second * before)
        if then > 0 and added > 0:
            x = x + noise(now, then) * added
        before, last, last_down = other, now, down
    return x


def sample_res_multistep_ancestral_cfg(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """The same with fresh noise after each step."""
    return sample_res_multistep_cfg(x, levels, noise, eta=1.0)


def sample_res_multistep(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """RES without CFG++."""
    return use_one_prediction(sample_res_multistep_cfg(x, levels, noise))


def sample_res_multistep_ancestral(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """RES without CFG++, with fresh noise after each step."""
    return use_one_prediction(sample_res_multistep_cfg(x, levels, noise, eta=1.0))


def sample_gradient_estimation_cfg(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """Euler's method along a slope extrapolated from the last two (arXiv:2306.04848, factor 2), with CFG++."""
    previous = None
    for now, then in pairwise(levels):
        x, clean, other = yield x, now
        if then == 0:
            return clean
        slope = (x - other) / now
        x = clean + slope * then
        if previous is not None:
            x = x + (slope - previous) * (then - now)
        previous = slope
    return x


def sample_gradient_estimation(x: Latents, levels: Sequence[float], noise: Noise) -> Steps:
    """The same without CFG++."""
    return use_one_prediction(sample_gradient_estimation_cfg(x, levels, noise))

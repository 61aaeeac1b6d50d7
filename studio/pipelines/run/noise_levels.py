"""Noise levels of a run by the schedule's name, as AUTOMATIC1111 and ComfyUI compute them.

Every function takes the number of steps and the checkpoint's own levels (sigma of each training timestep, ascending),
and returns floats from the highest level down; the last is 0 but for KL Optimal, which ends at the lowest level. Where
the others compute in float32 so do these: Brownian noise depends on the last bit of a level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from studio.pipelines.run.sampler_formulas import make_karras_levels

LevelFunction = Callable[[int, Sequence[float]], list[float]]

_AYS = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
_AYS_XL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)
_GITS = (14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.240, 0.156, 0.104, 0.094, 0.029)
_GITS_XL = (14.615, 4.734, 2.567, 1.529, 0.987, 0.652, 0.418, 0.268, 0.179, 0.127, 0.029)
_SAME_RANGE = 0.02
"""How far, in parts, a checkpoint's noise range may lie from Stable Diffusion's to count as the same."""


def find_timestep(level: float, trained: Sequence[float]) -> float:
    """The timestep of a level, interpolated in log space; levels outside the range give the first or the last."""
    from bisect import bisect_right

    if level <= trained[0]:
        return 0.0
    if level >= trained[-1]:
        return float(len(trained) - 1)
    low = bisect_right(trained, level) - 1
    start, end = math.log(trained[low]), math.log(trained[low + 1])
    return low + (math.log(level) - start) / (end - start)


def _spread_timesteps(count: int, trained: Sequence[float]) -> list[float]:
    """`count` levels, even in timesteps from the last to the first trained one."""
    import torch

    logs = torch.tensor(trained).log()
    timesteps = torch.linspace(len(trained) - 1, 0, count)
    low, high, part = timesteps.floor().long(), timesteps.ceil().long(), timesteps.frac()
    return ((1 - part) * logs[low] + part * logs[high]).exp().tolist()


def make_uniform_levels(count: int, trained: Sequence[float]) -> list[float]:
    """Even in timesteps, from the last to the first trained one."""
    return [*_spread_timesteps(count, trained), 0.0]


def make_sgm_uniform_levels(count: int, trained: Sequence[float]) -> list[float]:
    """Even in timesteps, the first trained one left to the step to 0."""
    return [*_spread_timesteps(count + 1, trained)[:-1], 0.0]


def make_simple_levels(count: int, trained: Sequence[float]) -> list[float]:
    """Every so many of the trained levels, from the highest down."""
    stride = len(trained) / count
    return [*(trained[-(1 + int(i * stride))] for i in range(count)), 0.0]


def make_ddim_levels(count: int, trained: Sequence[float]) -> list[float]:
    """Every so many of the trained levels, counted from the second lowest up; may be one more than `count`."""
    stride = max(len(trained) // count, 1)
    return [*reversed(trained[1::stride]), 0.0]


def make_timestep_levels(count: int, trained: Sequence[float]) -> list[float]:
    """The levels of AUTOMATIC1111's samplers over timesteps: every so many from the second lowest up, and none at 0;
    the last is where they end. They may be one more or less than `count` + 1."""
    stride, last = max(len(trained) // count, 1), len(trained) - 1
    places = dict.fromkeys(min(place + 1, last) for place in range(0, len(trained), stride))
    levels = [trained[place] for place in reversed(places)]
    return levels if len(levels) > 1 else [trained[-1], *levels]


def make_unipc_levels(count: int, trained: Sequence[float]) -> list[float]:
    """AUTOMATIC1111's levels for UniPC, even in timesteps from the last to the first trained one, interpolated in the
    logarithm of the image's share; there may be more than `count` + 1."""
    import torch

    steps = len(range(0, len(trained), max(len(trained) // count, 1)))
    shares = (torch.tensor(trained, dtype=torch.float64).square() + 1).log() / -2
    timesteps = torch.linspace(len(trained) - 1, 0, steps + 1, dtype=torch.float64)
    low, high, part = timesteps.floor().long(), timesteps.ceil().long(), timesteps.frac()
    share = (1 - part) * shares[low] + part * shares[high]
    return (-2 * share).expm1().sqrt().tolist()


def make_exponential_levels(count: int, trained: Sequence[float]) -> list[float]:
    """Even in the logarithm."""
    import torch

    return [*torch.linspace(math.log(trained[-1]), math.log(trained[0]), count).exp().tolist(), 0.0]


def make_polyexponential_levels(count: int, trained: Sequence[float]) -> list[float]:
    """The same by k-diffusion's formula for any exponent, with the exponent 1 that AUTOMATIC1111 gives it: another
    rounding."""
    import torch

    low, high = math.log(trained[0]), math.log(trained[-1])
    return [*(torch.linspace(1, 0, count) * (high - low) + low).exp().tolist(), 0.0]


def make_beta_levels(count: int, trained: Sequence[float]) -> list[float]:
    """Quantiles of the beta distribution with both shapes 0.6 over the levels (arXiv:2407.12173)."""
    from scipy.stats import beta

    parts = beta.ppf([1 - i / max(1, count - 1) for i in range(count)], 0.6, 0.6)
    return [*(trained[0] + float(part) * (trained[-1] - trained[0]) for part in parts), 0.0]


def make_kl_optimal_levels(count: int, trained: Sequence[float]) -> list[float]:
    """Even in the arc tangent, which minimises the divergence (arXiv:2404.14507); ends at the lowest level."""
    import torch

    low, high = (torch.arctan(torch.tensor(end)) for end in (trained[0], trained[-1]))
    parts = torch.arange(count + 1) / count
    return torch.tan(parts * low + (1 - parts) * high).tolist()


def make_turbo_levels(count: int, trained: Sequence[float]) -> list[float]:
    """Even in timesteps that end each stretch, for checkpoints distilled to few steps; Forge's Turbo."""
    stretch = len(trained) / count
    places = (round(i * stretch - 1) for i in range(count, 0, -1))
    return [*(trained[min(max(place, 0), len(trained) - 1)] for place in places), 0.0]


def make_linear_quadratic_levels(count: int, trained: Sequence[float]) -> list[float]:
    """Linear to a fortieth below the highest level in the first half, quadratic in the second (Genmo's Mochi)."""
    if count == 1:
        return [trained[-1], 0.0]
    threshold, linear = 0.025, count // 2
    quadratic = count - linear
    bend = (linear - threshold * count) / (linear * quadratic**2)
    slope = threshold / linear - 2 * linear * bend
    rise = [i * threshold / linear for i in range(linear)]
    rise += [bend * i**2 + slope * i + bend * linear**2 for i in range(linear, count)]
    return [*((1 - part) * trained[-1] for part in rise), 0.0]


def make_bong_tangent_levels(count: int) -> list[float]:
    """Of flow models, from 1 to 0: two arc tangents that meet at 0.5 (RES4LYF's bong_tangent)."""
    if count == 1:
        return [1.0, 0.0]
    total = count + 2
    pivot, slope = int(total * 0.6), 0.2 / (total / 40)
    early = _descend_tangent(pivot, slope, pivot, (1.0, 0.5))
    return [*early[:-1], *_descend_tangent(total - pivot, slope, 0, (0.5, 0.0))]


def _descend_tangent(count: int, slope: float, pivot: int, ends: tuple[float, float]) -> list[float]:
    """`count` levels between `ends` along an arc tangent, steepest at place `pivot`."""
    curve = [-math.atan(slope * (place - pivot)) for place in range(count)]
    spread = curve[0] - curve[-1]
    return [(level - curve[-1]) / spread * (ends[0] - ends[1]) + ends[1] for level in curve] if spread else [ends[0]]


def _interpolate_table(table: Sequence[float], count: int, trained: Sequence[float]) -> list[float]:
    """`count` levels and a 0, interpolated in log space between the table's, and stretched to a checkpoint whose noise
    range is another than Stable Diffusion's."""
    logs = [math.log(level) for level in table]
    levels = []
    for i in range(count):
        place = i / max(1, count - 1) * (len(logs) - 1)
        low = min(int(place), len(logs) - 2)
        levels.append(logs[low] + (place - low) * (logs[low + 1] - logs[low]))
    high, low_end = math.log(trained[-1]), math.log(trained[0])
    if abs(high - logs[0]) > _SAME_RANGE or abs(low_end - logs[-1]) > _SAME_RANGE:
        share = (high - low_end) / (logs[0] - logs[-1])
        levels = [low_end + (level - logs[-1]) * share for level in levels]
    return [*(math.exp(level) for level in levels), 0.0]


_LEVELS: Mapping[str, LevelFunction] = MappingProxyType(
    {
        "Uniform": make_uniform_levels,
        "Normal": make_uniform_levels,
        "SGM Uniform": make_sgm_uniform_levels,
        "Simple": make_simple_levels,
        "DDIM": make_ddim_levels,
        "Karras": lambda count, trained: make_karras_levels(count, trained[0], trained[-1]),
        "Exponential": make_exponential_levels,
        "Polyexponential": make_polyexponential_levels,
        "Beta": make_beta_levels,
        "KL Optimal": make_kl_optimal_levels,
        "Turbo": make_turbo_levels,
        "Linear Quadratic": make_linear_quadratic_levels,
    }
)
TABLES: Mapping[str, tuple[Sequence[float], Sequence[float]]] = MappingProxyType(
    {"Align Your Steps": (_AYS, _AYS_XL), "Align Your Steps GITS": (_GITS, _GITS_XL)}
)
"""Schedules that are tables: for Stable Diffusion 1 and 2, and for XL."""

FLOW_LEVELS: Mapping[str, Callable[[int], list[float]]] = MappingProxyType(
    {
        "Linear Quadratic": lambda count: make_linear_quadratic_levels(count, (1.0,)),
        "Bong Tangent": make_bong_tangent_levels,
    }
)
"""Schedules of flow models that know of no shift."""

SCHEDULES = (*_LEVELS, *TABLES)
"""The schedules that have levels, by the names that users know."""


def compute_levels(schedule: str, count: int, trained: Sequence[float], *, xl: bool = False) -> list[float]:
    """The noise levels of `count` steps (1 and more), descending. `trained` holds the checkpoint's own, ascending; `xl`
    takes the tables made for Stable Diffusion XL.

    Raises:
        KeyError: a schedule that is not in SCHEDULES.
    """
    if schedule in TABLES:
        return _interpolate_table(TABLES[schedule][xl], count, trained)
    return _LEVELS[schedule](count, trained)

"""Repeatable choices: a number from 0 to below n that depends on a seed and a place, and on nothing else.

SHA-256 gives the same on every machine and every version of Python, and each place of a template has choices of its
own: an edit elsewhere does not move them.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import math
from collections.abc import Sequence

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def draw_integer(seed: int, place: str, count: int, k: int = 0) -> int:
    """The `k`-th draw at `place`: 0 to `count` - 1, all as likely."""
    return (_hash_integer(f"{seed}\n{place}\n{k}") * count) >> 64


def draw_weighted(seed: int, place: str, cumulative: Sequence[float], k: int = 0) -> int:
    """The index of the `k`-th draw at `place` among weights, given as their running sums; the last one is above 0."""
    point = _hash_integer(f"{seed}\n{place}\n{k}") / 2**64 * cumulative[-1]
    return min(bisect.bisect_right(cumulative, point), len(cumulative) - 1)


def draw_sample(seed: int, place: str, count: int, size: int) -> list[int]:
    """`size` different numbers of 0 to `count` - 1 in a drawn order, all orders as likely."""
    moved: dict[int, int] = {}  # the first steps of a Fisher-Yates shuffle, of which only what moves is kept
    drawn: list[int] = []
    for k in range(min(size, count)):
        at = k + draw_integer(seed, place, count - k, k)
        drawn.append(moved.get(at, at))
        moved[at] = moved.get(k, k)
    return drawn


def draw_weighted_sample(seed: int, place: str, weights: Sequence[float], size: int) -> list[int]:
    """As `draw_sample`, heavier ones sooner; what weighs nothing is never drawn."""
    keys = [
        (-math.log((_hash_integer(f"{seed}\n{place}\n{index}") + 1) / 2**64) / weight, index)
        for index, weight in enumerate(weights)
        if weight > 0
    ]
    return [index for _, index in sorted(keys)[:size]]


def walk_order(place: str, count: int, step: int) -> int:
    """The number at `step` of an order of 0 to `count` - 1 that belongs to `place`: `count` steps on end give each
    number once."""
    stride, offset = _plan_walk(place, count)
    return (step * stride + offset) % count


@functools.lru_cache(maxsize=1024)
def _plan_walk(place: str, count: int) -> tuple[int, int]:
    """A stride without a common divisor, near the golden section so that neighbours lie far apart, and an offset."""
    stride = max(1, round(count * _GOLDEN_RATIO))
    while math.gcd(stride, count) != 1:
        stride += 1
    return stride, draw_integer(0, place, count)


def _hash_integer(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")

"""Normal numbers as an NVIDIA card draws them, computed in numpy.

The bits are those of Philox 4x32-10 (Salmon et al., 2011); the transform to normal numbers is Box and Muller's, of
which the first value is taken. A seed is the generator's key; the counter holds the number of the draw and the
position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ROUNDS = 10
_MASK = 0xFFFFFFFF
_FACTORS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_UNIT = 2.0**-32
_TURN = 6.28318548202514648 * _UNIT  # 2π as the card has it, a float32, for one step of a word


def compute_philox(counter: Sequence[NDArray[np.uint64]], key: tuple[int, int]) -> list[NDArray[np.uint64]]:
    """Four arrays of random 32-bit words from the four words of the counters and the two of the key."""
    import numpy as np

    mask, half = np.uint64(_MASK), np.uint64(32)
    factors = [np.uint64(factor) for factor in _FACTORS]
    first, second, third, fourth = counter
    for number in range(_ROUNDS):
        keys = [np.uint64((word + number * step) & _MASK) for word, step in zip(key, _KEY_STEPS, strict=True)]
        left, right = first * factors[0], third * factors[1]
        first, second = (right >> half) ^ second ^ keys[0], right & mask
        third, fourth = (left >> half) ^ fourth ^ keys[1], left & mask
    return [first, second, third, fourth]


def draw_normals(seed: int, draw: int, count: int, start: int = 0) -> NDArray[np.float32]:
    """The numbers `start` to `start + count` of the `draw`th draw (counted from 0) with `seed`, 0 to 2**64-1."""
    import numpy as np

    positions = np.arange(start, start + count, dtype=np.uint64)
    zeros = np.zeros(count, dtype=np.uint64)
    words = compute_philox([zeros + np.uint64(draw), zeros, positions, zeros], (seed & _MASK, seed >> 32 & _MASK))
    radius, angle = (word * step + step / 2 for word, step in zip(words, (_UNIT, _TURN), strict=False))
    return (np.sqrt(-2.0 * np.log(radius)) * np.sin(angle)).astype(np.float32)

"""A convolution of 3×3 as one product of matrices: each pixel with its eight neighbours, times all weights.

Deep in a network, where a few pixels meet many weights, OpenVINO's own convolutions read the weights slowly.
"""

from __future__ import annotations

from typing import Any


def gather_convolution(given: Any, weights: Any) -> Any:
    """The node that answers as the convolution of `given` (n, in, h, w) with `weights` (out, in, 3, 3) does."""
    import numpy as np
    from openvino import opset13 as ops

    outputs, inputs = weights.shape[:2]
    shape = ops.shape_of(given, "i64")
    height, width = (ops.gather(shape, np.array([place]), np.array(0)) for place in (2, 3))
    around = np.array([0, 1, 1, 0])
    padded = ops.pad(ops.transpose(given, np.array([0, 2, 3, 1])), around, around, "constant")
    ones, axes = np.array([1, 1]), np.array([1, 2])
    shifted = [
        ops.slice(padded, np.array([y, x]), ops.concat([ops.add(height, y), ops.add(width, x)], 0), ones, axes)
        for y in range(3)
        for x in range(3)
    ]
    matrix = np.ascontiguousarray(weights.transpose(2, 3, 1, 0).reshape(9 * inputs, outputs))
    product = ops.matmul(ops.concat(shifted, 3), ops.constant(matrix), False, False)
    return ops.transpose(product, np.array([0, 3, 1, 2]))

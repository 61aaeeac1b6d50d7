"""A converted network with less arithmetic at the same results: convolutions of 3×3 in Winograd's form.

A tile of 4×4 pixels of the result takes 36 products of numbers that were added up before, instead of 144. OpenVINO's
own convolutions on x86 have no such form; here it is made of the operations that it has: matrix products.
"""

from __future__ import annotations

from typing import Any

from studio.pipelines.accelerate.joined_upsampling import is_plain_convolution

_LEAST_CHANNELS = 256  # fewer do not pay for what is added up around the products
_MOST_WEIGHTS = 1280 * 640  # input times output channels: the form takes four times their memory
_TILE = 4
_TILES = 2  # in a row of a block, which are made ready together
_BLOCK = _TILE * _TILES
_POINTS = 6

# Of F(4×4, 3×3), for the points 0, 1, -1, 2, -2 and infinity.
_INPUT = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0))
_INPUT += ((0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))
_WEIGHTS = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))  # over 24
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def transform_convolutions(model: Any) -> int:
    """Give the convolutions of an openvino.Model that gain by it Winograd's form. Returns their number."""
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convolution" or not is_plain_convolution(node):
            continue
        weights = node.input_value(1).get_node()
        if weights.get_type_name() != "Constant" or not _is_worth_it(*weights.data.shape[:2]):
            continue
        transformed = _transform(node.input_value(0), weights.data)
        transformed.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(transformed.output(0))
        count += 1
    if count:
        model.validate_nodes_and_infer_types()
    return count


def measure_growth(network: Any) -> int:
    """About how many bytes a torch network's weights take more in the form."""
    import torch

    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    shapes = [layer.weight.shape for layer in convolutions if layer.kernel_size == (3, 3)]
    return sum(4 * (_POINTS**2 - 9) * out * given for out, given, *_ in shapes if _is_worth_it(out, given))


def _is_worth_it(outputs: int, inputs: int) -> bool:
    return min(outputs, inputs) >= _LEAST_CHANNELS and outputs * inputs <= _MOST_WEIGHTS


def _transform(given: Any, weights: Any) -> Any:
    """The node that answers as the convolution of `given` (n, in, h, w) with `weights` (out, in, 3, 3) does."""
    from openvino import opset13 as ops

    outputs, inputs = weights.shape[:2]
    shape = ops.shape_of(given, "i64")
    height, width = (ops.gather(shape, _whole([place]), _whole(0)) for place in (2, 3))
    rows, columns = (ops.divide(ops.add(side, _whole([_BLOCK - 1])), _whole([_BLOCK])) for side in (height, width))
    ready = ops.constant(_make_input_matrix())
    done = ops.constant(_make_output_matrix())

    x = ops.transpose(given, _whole([0, 2, 3, 1]))
    x = _pad(x, ops.subtract(_times(rows, _BLOCK), height), ops.subtract(_times(columns, _BLOCK), width))
    padded = ops.multiply(ops.add(_times(columns, _BLOCK), _whole([2])), _whole([inputs]))
    x = ops.gather(x, _number_blocks(rows), _whole(1))
    x = ops.matmul(ready, _reshape(x, [-1], [_BLOCK + 2], padded), False, False)
    x = _reshape(x, [-1], ops.add(_times(columns, _BLOCK), _whole([2])), [inputs])
    x = ops.matmul(ready, ops.gather(x, _number_blocks(columns), _whole(1)), False, False)

    x = _reshape(x, [-1, _POINTS], _times(columns, _TILES), [_POINTS, _TILES * inputs])
    x = _reshape(ops.transpose(x, _whole([1, 3, 0, 2, 4])), [_POINTS**2, -1, inputs])
    x = ops.matmul(x, ops.constant(_transform_weights(weights)), False, False)
    x = _reshape(x, [_POINTS, _POINTS, -1], _times(columns, _TILES), [_TILES * outputs])
    x = ops.transpose(x, _whole([2, 0, 3, 1, 4]))

    x = ops.matmul(done, _reshape(x, [-1, _POINTS * _TILES, outputs]), False, False)
    x = ops.matmul(done, _reshape(x, [-1, _POINTS * _TILES], _times(columns, _BLOCK * outputs)), False, False)
    x = _reshape(x, [-1], _times(rows, _BLOCK), _times(columns, _BLOCK), [outputs])
    x = ops.slice(x, _whole([0, 0]), ops.concat([height, width], 0), _whole([1, 1]), _whole([1, 2]))
    return ops.transpose(x, _whole([0, 3, 1, 2]))


def _pad(image: Any, below: Any, right: Any) -> Any:
    """One pixel of zeros around, and what is missing to whole blocks."""
    from openvino import opset13 as ops

    one = _whole([1])
    end = ops.concat([_whole([0]), ops.add(below, one), ops.add(right, one), _whole([0])], 0)
    return ops.pad(image, _whole([0, 1, 1, 0]), end, "constant")


def _number_blocks(count: Any) -> Any:
    """For each of `count` blocks the places of its pixels and of one on either side: (count, _BLOCK + 2)."""
    from openvino import opset13 as ops

    first = ops.multiply(ops.range(_whole(0), ops.squeeze(count, _whole([0])), _whole(1), "i64"), _whole(_BLOCK))
    return ops.add(ops.unsqueeze(first, _whole([1])), _whole([list(range(_BLOCK + 2))]))


def _reshape(node: Any, *parts: Any) -> Any:
    """`node` in the shape that `parts`, lists and nodes, give one after the other."""
    from openvino import opset13 as ops

    nodes = [_whole(part) if isinstance(part, list) else part for part in parts]
    return ops.reshape(node, nodes[0] if len(nodes) == 1 else ops.concat(nodes, 0), False)


def _times(node: Any, factor: int) -> Any:
    from openvino import opset13 as ops

    return ops.multiply(node, _whole([factor]))


def _whole(numbers: Any) -> Any:
    import numpy as np
    from openvino import opset13 as ops

    return ops.constant(np.array(numbers, np.int64))


def _make_input_matrix() -> Any:
    """From the pixels of a block, in one direction, to the points of its tiles: all tiles' first points come first."""
    import numpy as np

    matrix = np.zeros((_POINTS, _TILES, _BLOCK + 2), np.float32)
    for tile in range(_TILES):
        matrix[:, tile, _TILE * tile : _TILE * tile + _POINTS] = _INPUT
    return matrix.reshape(_POINTS * _TILES, _BLOCK + 2)


def _make_output_matrix() -> Any:
    """From the points of the tiles of a block back to its pixels, in one direction."""
    import numpy as np

    matrix = np.zeros((_TILES, _TILE, _POINTS, _TILES), np.float32)
    for tile in range(_TILES):
        matrix[tile, :, :, tile] = _OUTPUT
    return matrix.reshape(_BLOCK, _POINTS * _TILES)


def _transform_weights(weights: Any) -> Any:
    """(out, in, 3, 3) as one matrix (in, out) for each of the points of a tile."""
    import numpy as np

    points = np.array(_WEIGHTS, np.float64) / 24
    both = points @ weights.astype(np.float64) @ points.T
    return np.ascontiguousarray(both.transpose(2, 3, 1, 0).reshape(_POINTS**2, *weights.shape[1::-1]), np.float32)

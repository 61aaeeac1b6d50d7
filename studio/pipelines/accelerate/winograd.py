"""A converted network with less arithmetic at the same results: convolutions of 3×3 in Winograd's form.

A tile of 4×4 pixels of the result takes 36 products of numbers that were added up before, instead of 144; one of 2×2
16 instead of 36. OpenVINO's own convolutions on x86 have no such form; here it is made of the operations that it has:
matrix products.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.pipelines.accelerate.gathered_pixels import gather_convolution
from studio.pipelines.accelerate.joined_upsampling import is_plain_convolution

_LEAST_CHANNELS = 256  # fewer do not pay for what is added up around the products
_MOST_WEIGHTS = 1920 * 640  # input times output channels: beyond, the form with large tiles takes too much memory
_DEEP = 8  # times the side of a result's pixels fit into that of the largest
_TILES = 2  # in a row of a block, which are made ready together


@dataclass(frozen=True)
class _Form:
    """Winograd's form for square tiles of `tile` pixels of the result: the matrices from pixels of the input to the
    points of a tile, from weights of a kernel to points (times `scale`), and from points to pixels of the result."""

    tile: int
    given: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[int, ...], ...]
    scale: int
    found: tuple[tuple[int, ...], ...]

    @property
    def points(self) -> int:
        return len(self.given)

    @property
    def block(self) -> int:
        return self.tile * _TILES


# F(4×4, 3×3), for the points 0, 1, -1, 2, -2 and infinity: a fourth of the products for four times the weights.
_LARGE = _Form(
    4,
    given=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    weights=((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24)),
    scale=24,
    found=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
)
# F(2×2, 3×3), for the points 0, 1, -1 and infinity: four ninths of the products for 1.8 times the weights.
_SMALL = _Form(
    2,
    given=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1)),
    weights=((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2)),
    scale=2,
    found=((1, 1, 1, 0), (0, 1, -1, 1)),
)


def transform_convolutions(model: Any, sides: Mapping[str, int]) -> int:
    """Give the convolutions of an openvino.Model that gain by it Winograd's form; those of many weights deep in the
    network, where few pixels fill no tiles, become one product each. `sides` are those of their results in one call of
    the network, by the names of the nodes. Returns their number."""
    count = 0
    largest = max(sides.values(), default=0)
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convolution" or not is_plain_convolution(node):
            continue
        weights = node.input_value(1).get_node()
        if weights.get_type_name() != "Constant":
            continue
        outputs, inputs = weights.data.shape[:2]
        name = node.get_friendly_name()
        form = _choose_form(outputs, inputs)
        if form is None:
            continue
        if outputs * inputs > _MOST_WEIGHTS and _DEEP * sides.get(name, largest) <= largest:
            transformed = gather_convolution(node.input_value(0), weights.data)
        else:
            transformed = _transform(node.input_value(0), weights.data, form)
        transformed.set_friendly_name(name)
        node.output(0).replace(transformed.output(0))
        count += 1
    if count:
        model.validate_nodes_and_infer_types()
    return count


def read_sides(model: Any) -> dict[str, int]:
    """The shorter sides of what the convolutions of an openvino.Model of one size answer with, by the nodes' names."""
    shapes = {
        node.get_friendly_name(): node.get_output_partial_shape(0)
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    }
    return {name: min(shape.to_shape()[2:]) for name, shape in shapes.items() if shape.is_static}


def measure_growth(network: Any) -> int:
    """At most how many bytes a torch network's weights take more in the form."""
    import torch

    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    shapes = [layer.weight.shape for layer in convolutions if layer.kernel_size == (3, 3)]
    forms = [(out * given, _choose_form(out, given)) for out, given, *_ in shapes]
    return sum(4 * (form.points**2 - 9) * weights for weights, form in forms if form is not None)


def _choose_form(outputs: int, inputs: int) -> _Form | None:
    """The form that gains most for the memory that it takes."""
    if min(outputs, inputs) < _LEAST_CHANNELS:
        return None
    return _LARGE if outputs * inputs <= _MOST_WEIGHTS else _SMALL


def _transform(given: Any, weights: Any, form: _Form) -> Any:
    """The node that answers as the convolution of `given` (n, in, h, w) with `weights` (out, in, 3, 3) does."""
    from openvino import opset13 as ops

    outputs, inputs = weights.shape[:2]
    shape = ops.shape_of(given, "i64")
    height, width = (ops.gather(shape, _whole([place]), _whole(0)) for place in (2, 3))
    rows, columns = (
        ops.divide(ops.add(side, _whole([form.block - 1])), _whole([form.block])) for side in (height, width)
    )
    ready = ops.constant(_make_input_matrix(form))
    done = ops.constant(_make_output_matrix(form))

    x = ops.transpose(given, _whole([0, 2, 3, 1]))
    x = _pad(x, ops.subtract(_times(rows, form.block), height), ops.subtract(_times(columns, form.block), width))
    padded = ops.multiply(ops.add(_times(columns, form.block), _whole([2])), _whole([inputs]))
    x = ops.gather(x, _number_blocks(rows, form.block), _whole(1))
    x = ops.matmul(ready, _reshape(x, [-1], [form.block + 2], padded), False, False)
    x = _reshape(x, [-1], ops.add(_times(columns, form.block), _whole([2])), [inputs])
    x = ops.matmul(ready, ops.gather(x, _number_blocks(columns, form.block), _whole(1)), False, False)

    x = _reshape(x, [-1, form.points], _times(columns, _TILES), [form.points, _TILES * inputs])
    x = _reshape(ops.transpose(x, _whole([1, 3, 0, 2, 4])), [form.points**2, -1, inputs])
    x = ops.matmul(x, ops.constant(_transform_weights(weights, form)), False, False)
    x = _reshape(x, [form.points, form.points, -1], _times(columns, _TILES), [_TILES * outputs])
    x = ops.transpose(x, _whole([2, 0, 3, 1, 4]))

    x = ops.matmul(done, _reshape(x, [-1, form.points * _TILES, outputs]), False, False)
    x = ops.matmul(done, _reshape(x, [-1, form.points * _TILES], _times(columns, form.block * outputs)), False, False)
    x = _reshape(x, [-1], _times(rows, form.block), _times(columns, form.block), [outputs])
    x = ops.slice(x, _whole([0, 0]), ops.concat([height, width], 0), _whole([1, 1]), _whole([1, 2]))
    return ops.transpose(x, _whole([0, 3, 1, 2]))


def _pad(image: Any, below: Any, right: Any) -> Any:
    """One pixel of zeros around, and what is missing to whole blocks."""
    from openvino import opset13 as ops

    one = _whole([1])
    end = ops.concat([_whole([0]), ops.add(below, one), ops.add(right, one), _whole([0])], 0)
    return ops.pad(image, _whole([0, 1, 1, 0]), end, "constant")


def _number_blocks(count: Any, block: int) -> Any:
    """For each of `count` blocks the places of its pixels and of one on either side: (count, block + 2)."""
    from openvino import opset13 as ops

    first = ops.multiply(ops.range(_whole(0), ops.squeeze(count, _whole([0])), _whole(1), "i64"), _whole(block))
    return ops.add(ops.unsqueeze(first, _whole([1])), _whole([list(range(block + 2))]))


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


def _make_input_matrix(form: _Form) -> Any:
    """From the pixels of a block, in one direction, to the points of its tiles: all tiles' first points come first."""
    import numpy as np

    matrix = np.zeros((form.points, _TILES, form.block + 2), np.float32)
    for tile in range(_TILES):
        matrix[:, tile, form.tile * tile : form.tile * tile + form.points] = form.given
    return matrix.reshape(form.points * _TILES, form.block + 2)


def _make_output_matrix(form: _Form) -> Any:
    """From the points of the tiles of a block back to its pixels, in one direction."""
    import numpy as np

    matrix = np.zeros((_TILES, form.tile, form.points, _TILES), np.float32)
    for tile in range(_TILES):
        matrix[tile, :, :, tile] = form.found
    return matrix.reshape(form.block, form.points * _TILES)


def _transform_weights(weights: Any, form: _Form) -> Any:
    """(out, in, 3, 3) as one matrix (in, out) for each of the points of a tile."""
    import numpy as np

    points = np.array(form.weights, np.float64) / form.scale
    both = points @ weights.astype(np.float64) @ points.T
    return np.ascontiguousarray(both.transpose(2, 3, 1, 0).reshape(form.points**2, *weights.shape[1::-1]), np.float32)

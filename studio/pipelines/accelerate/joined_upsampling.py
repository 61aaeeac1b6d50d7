"""A converted network with less arithmetic at the same results: what is enlarged and then convolved is convolved at its
own size."""

from __future__ import annotations

from typing import Any

_ENLARGED = (2.0, 2.0)
_AXES = (2.0, 3.0)  # height and width
_KERNEL = (3, 3)


def join_upsampling(model: Any) -> int:
    """Let one transposed convolution do what each pair of "twice as large, nearest pixel" and a convolution of 3×3 does
    in an openvino.Model. Of nine products for a pixel four are left, as pixels that are equal share one. Returns the
    number of pairs."""
    from openvino import opset13, passes

    folding = passes.Manager()
    folding.register_pass(passes.ConstantFolding())  # of "how many times as large"
    folding.run_passes(model)
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convolution" or not is_plain_convolution(node):
            continue
        source, weights = (node.input_value(place).get_node() for place in (0, 1))
        if not _doubles_size(source) or weights.get_type_name() != "Constant":
            continue
        joined = opset13.convolution_backprop_data(
            source.input_value(0),
            opset13.constant(_join_kernel(weights.data)),
            strides=[2, 2],
            pads_begin=[1, 1],
            pads_end=[1, 1],
            dilations=[1, 1],
        )
        joined.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(joined.output(0))
        count += 1
    if count:
        model.validate_nodes_and_infer_types()
    return count


def is_plain_convolution(convolution: Any) -> bool:
    """Whether it is of 3×3, goes over every pixel, and adds one pixel of zeros around."""
    given = convolution.get_attributes()
    ones = all(list(given[name]) == [1, 1] for name in ("strides", "dilations", "pads_begin", "pads_end"))
    shape = convolution.input_value(1).get_partial_shape()
    return ones and given["auto_pad"] == "explicit" and shape.is_static and tuple(shape.to_shape())[2:] == _KERNEL


def _doubles_size(node: Any) -> bool:
    if node.get_type_name() != "Interpolate":
        return False
    given = node.get_attributes()
    wanted = {"mode": "nearest", "shape_calculation_mode": "scales", "coordinate_transformation_mode": "asymmetric"}
    wanted["nearest_mode"] = "floor"
    if any(given[name] != value for name, value in wanted.items()) or any([*given["pads_begin"], *given["pads_end"]]):
        return False
    scales = _read_numbers(node.input_value(1).get_node())
    axes = _read_numbers(node.input_value(2).get_node()) if node.get_input_size() > 2 else ()
    return scales == _ENLARGED and axes == _AXES


def _read_numbers(node: Any) -> tuple[float, ...]:
    return tuple(map(float, node.data.reshape(-1))) if node.get_type_name() == "Constant" else ()


def _join_kernel(weights: Any) -> Any:
    """The kernels of 4×4 of a transposed convolution with a stride of 2 (in, out, 4, 4) that answers as one with
    `weights` (out, in, 3, 3) does after the enlargement: in each direction every weight counts for two equal pixels."""
    import numpy as np

    kernel = np.flip(weights, (2, 3)).transpose(1, 0, 2, 3)
    for axis in (2, 3):
        before, after = ([(0, 0)] * 4 for _ in range(2))
        before[axis], after[axis] = (1, 0), (0, 1)
        kernel = np.pad(kernel, before) + np.pad(kernel, after)
    return np.ascontiguousarray(kernel)

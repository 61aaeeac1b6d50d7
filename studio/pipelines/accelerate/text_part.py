"""A converted network in two parts: what it makes of the text, which stays the same over all steps of an image, and the
rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TEXT_ARGUMENT = "encoder_hidden_states"  # of diffusers' denoisers


@dataclass(frozen=True)
class TextPart:
    """An openvino.Model whose only input is that number `place` of the whole network."""

    model: Any
    place: int


def split_text_part(model: Any) -> TextPart | None:
    """Take the matrix products that depend on the input named TEXT_ARGUMENT alone out of an openvino.Model: as a rule
    keys and values of its attention layers. From then on their results, in order, are further inputs of `model`.
    Returns None when there are none."""
    import openvino
    from openvino import opset13

    parameters = model.get_parameters()
    place = next((place for place, one in enumerate(parameters) if one.get_friendly_name() == TEXT_ARGUMENT), None)
    if place is None:
        return None
    text = parameters[place]
    inside, ends = _find_text_part(model, text)
    if not ends:
        return None
    inputs: list[Any] = []
    for number, end in enumerate(ends):
        given = opset13.parameter(end.get_partial_shape(), end.get_element_type(), name=f"{TEXT_ARGUMENT}.{number}")
        for target in end.get_target_inputs():
            if target.get_node().get_name() not in inside:
                target.replace_source_output(given.output(0))
        inputs.append(given)
    own = opset13.parameter(text.get_partial_shape(), text.get_element_type(), name=TEXT_ARGUMENT)
    for target in text.output(0).get_target_inputs():  # the rest may still ask for its length
        if target.get_node().get_name() in inside:
            target.replace_source_output(own.output(0))
    results = [opset13.result(end) for end in ends]
    model.add_parameters(inputs)
    model.validate_nodes_and_infer_types()
    build: Any = openvino.Model  # its types are wrong
    return TextPart(build(results, [own], TEXT_ARGUMENT), place)


def _find_text_part(model: Any, text: Any) -> tuple[set[str], list[Any]]:
    """The names of the nodes that depend on `text` alone, and those of their outputs that the rest reads, where a
    matrix product lies before them."""
    inside, fixed, with_product = {text.get_name()}, set[str](), set[str]()
    nodes: list[Any] = []
    for node in model.get_ordered_ops():
        name, kind = node.get_name(), node.get_type_name()
        sources = {value.get_node().get_name() for value in node.input_values()}
        if kind == "Parameter":
            continue
        if sources <= fixed:
            fixed.add(name)
        # Lengths are for the rest to ask: they cost nothing, and would keep the products in it.
        elif sources <= inside | fixed and kind not in ("ShapeOf", "Result"):
            inside.add(name)
            nodes.append(node)
            if kind == "MatMul" or sources & with_product:
                with_product.add(name)
    outputs = [output for node in nodes if node.get_name() in with_product for output in node.outputs()]
    return inside, [output for output in outputs if any(name not in inside for name in _name_targets(output))]


def _name_targets(output: Any) -> list[str]:
    return [target.get_node().get_name() for target in output.get_target_inputs()]

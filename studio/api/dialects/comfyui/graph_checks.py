"""A graph looked at before anything is queued, with ComfyUI's own errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from studio.api.dialects.comfyui.node_types import NODE_TYPES, Choices, NodeInput
from studio.core.errors import InvalidRequest

MAX_NODES = 500
MAX_GRAPH = 2**18  # characters as JSON: it is kept with the history, and written into images
Graph = dict[str, dict[str, Any]]


class InvalidGraph(InvalidRequest):
    """A graph that is refused; `details` has ComfyUI's type, the nodes' errors, and more where there is more."""

    status: ClassVar[int] = 400


def make_graph_error(
    kind: str, message: str, hint: str = "", *, node_errors: Mapping[str, Any] | None = None, **extra: Any
) -> InvalidGraph:
    """An error in ComfyUI's words."""
    return InvalidGraph(
        message, hint=hint, details={"type": kind, "extra_info": extra, "node_errors": dict(node_errors or {})}
    )


def parse_graph(data: Any) -> Graph:
    """The graph of a body.

    Raises:
        InvalidGraph: there is none, it is no graph, or it is too large.
    """
    if not isinstance(data, dict) or not data:
        raise make_graph_error("no_prompt", "No prompt provided", "No prompt provided")
    nodes = cast("dict[Any, Any]", data)
    if len(nodes) > MAX_NODES:
        raise make_graph_error("invalid_prompt", f"The graph has more than {MAX_NODES} nodes")
    if len(json.dumps(nodes)) > MAX_GRAPH:
        raise make_graph_error("invalid_prompt", "The graph is too large.", "Upload images with POST /upload/image.")
    return {str(name): _parse_node(str(name), node) for name, node in nodes.items()}


def _parse_node(name: str, data: Any) -> dict[str, Any]:
    node = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if not isinstance(node.get("class_type"), str):
        raise make_graph_error(
            "invalid_prompt",
            "Cannot execute because a node is missing the class_type property.",
            f"Node ID '#{name[:100]}'",
        )
    inputs: Any = node.get("inputs")
    return {**node, "inputs": cast("dict[str, Any]", inputs) if isinstance(inputs, dict) else {}}


def check_graph(graph: Graph, choices: Callable[[Choices], list[str]]) -> list[str]:
    """The names of the output nodes whose graph can be carried out.

    Raises:
        InvalidGraph: a node that is not understood, no output node, or inputs that do not fit, each named.
    """
    unknown = {name: node["class_type"] for name, node in graph.items() if node["class_type"] not in NODE_TYPES}
    if unknown:
        first, kind = next(iter(unknown.items()))
        raise make_graph_error(
            "invalid_prompt",
            f"Cannot execute because node {kind[:100]} does not exist.",
            f"Node ID '#{first[:100]}'",
            unknown_nodes={name[:100]: kind[:100] for name, kind in list(unknown.items())[:50]},
        )
    outputs = [name for name, node in graph.items() if NODE_TYPES[node["class_type"]].is_output]
    if not outputs:
        raise make_graph_error("prompt_no_outputs", "Prompt has no outputs")
    errors = {name: found for name, node in graph.items() if (found := _check_node(name, node, graph, choices))}
    broken = {name: _list_ancestors(name, graph) & errors.keys() for name in outputs}
    good = [name for name in outputs if not broken[name]]
    if not good:
        raise make_graph_error(
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            node_errors={
                name: {
                    "errors": found,
                    "dependent_outputs": [output for output in outputs if name in broken[output]],
                    "class_type": graph[name]["class_type"],
                }
                for name, found in errors.items()
            },
        )
    return good


def _list_ancestors(name: str, graph: Graph) -> set[str]:
    """The node and all that it needs."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in found or current not in graph:
            continue
        found.add(current)
        inputs = graph[current]["inputs"]
        values = [inputs.get(one.name) for one in NODE_TYPES[graph[current]["class_type"]].inputs]
        waiting += [str(value[0]) for value in values if is_link(value)]
    return found


def is_link(value: Any) -> bool:
    """Whether an input's value is the output of another node: its name, and the number of the output."""
    if not isinstance(value, list):
        return False
    link = cast("list[Any]", value)
    return len(link) == 2 and isinstance(link[0], str | int) and isinstance(link[1], int)


def _check_node(
    name: str, node: dict[str, Any], graph: Graph, choices: Callable[[Choices], list[str]]
) -> list[dict[str, Any]]:
    errors: list[dict[str, Any]] = []
    for one in NODE_TYPES[node["class_type"]].inputs:
        if one.name not in node["inputs"]:
            if one.required:
                errors.append(_make_error("required_input_missing", "Required input is missing", one.name, one))
            continue
        value = node["inputs"][one.name]
        found = _check_link(one, value, graph) if is_link(value) else _check_value(one, value, choices)
        if found:
            errors.append(found)
    return errors


def _check_link(one: NodeInput, value: Any, graph: Graph) -> dict[str, Any] | None:
    source = graph.get(str(value[0]))
    if source is None:
        return _make_error("bad_linked_input", "Bad linked input, the node does not exist", one.name, one, value)
    outputs = NODE_TYPES[source["class_type"]].outputs if source["class_type"] in NODE_TYPES else ()
    if not 0 <= value[1] < len(outputs):
        return _make_error("bad_linked_input", "Bad linked input, there is no such output", one.name, one, value)
    if outputs[value[1]] != one.kind:
        text = f"{one.name}, received_type({outputs[value[1]]}) mismatch input_type({one.kind})"
        return _make_error("return_type_mismatch", "Return type mismatch between linked nodes", text, one, value)
    return None


def _check_value(one: NodeInput, value: Any, choices: Callable[[Choices], list[str]]) -> dict[str, Any] | None:
    if one.is_link:
        return _make_error("bad_linked_input", "Bad linked input, must be a length-2 list", one.name, one, value)
    if isinstance(one.kind, Choices):
        listed = choices(one.kind)
        if value not in listed and one.kind is not Choices.FILES:
            text = f"{one.name}: '{str(value)[:100]}' not in {str(listed[:20])[:400]}"
            return _make_error("value_not_in_list", "Value not in list", text, one, value)
        return None
    if one.kind in ("INT", "FLOAT"):
        return _check_number(one, value)
    return None


def _check_number(one: NodeInput, value: Any) -> dict[str, Any] | None:
    try:
        number = int(value) if one.kind == "INT" else float(value)
    except (TypeError, ValueError, OverflowError):
        text = f"{one.name}, {str(value)[:100]!r}"
        return _make_error(
            "invalid_input_type", f"Failed to convert an input value to a {one.kind} value", text, one, value
        )
    if one.low is not None and number < one.low:
        text = f"Value {number} smaller than min of {one.low:g}"
        return _make_error("value_smaller_than_min", text, one.name, one, value)
    if one.high is not None and not number <= one.high:
        text = f"Value {number} bigger than max of {one.high:g}"
        return _make_error("value_bigger_than_max", text, one.name, one, value)
    return None


def _make_error(kind: str, message: str, details: str, one: NodeInput, value: Any = None) -> dict[str, Any]:
    extra: dict[str, Any] = {"input_name": one.name}
    if value is not None:
        extra["received_value"] = value if isinstance(value, int | float | str | list) else str(value)[:100]
    return {"type": kind, "message": message, "details": details, "extra_info": extra}

"""A ComfyUI graph as the values that one image was drawn with."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, cast

_MAX_NODES = 500  # a workflow has some dozens; walking one of many thousands would take minutes
_MAX_SAMPLERS = 20
_CUSTOM_SAMPLER = "SamplerCustomAdvanced"
_Nodes = dict[str, dict[str, Any]]


def read_graph(graph: object) -> dict[str, Any] | None:
    """The values of the first sampler in `graph`, a prompt as ComfyUI's API takes it, with its prompts, model, size and
    LoRAs; None when there is none that can be read."""
    from sd_parsers.exceptions import ParserError
    from sd_parsers.parsers import ComfyUIParser

    nodes = _copy_valid_nodes(graph)
    if not nodes:
        return None
    _name_custom_samplers(nodes)
    try:
        samplers = (
            ComfyUIParser().parse({"prompt": _strip_links(nodes), "workflow": {"links": _list_links(nodes)}}).samplers
        )
    except (ParserError, RecursionError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    if not samplers:
        return None
    sampler = samplers[0]
    values: dict[str, Any] = {
        **_find_size(nodes),
        **sampler.parameters,
        "sampler": sampler.name,
        "loras": _list_loras(nodes),
        "prompt": ", ".join(one.value for one in sampler.prompts),
        "negativeprompt": ", ".join(one.value for one in sampler.negative_prompts),
    }
    named = sampler.model.name if sampler.model is not None else _find_input(nodes, "unet_name")
    return values | ({"model": named} if isinstance(named, str) else {})


def _copy_valid_nodes(graph: object) -> _Nodes:
    """A copy of the well-formed nodes, none when there are too many."""
    if not isinstance(graph, dict):
        return {}
    found: _Nodes = {}
    for name, node in cast("dict[Any, Any]", graph).items():
        kind, inputs = (node.get("class_type"), node.get("inputs")) if isinstance(node, dict) else (None, None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(kind, str) and isinstance(inputs, dict):
            found[str(name)] = {"class_type": kind, "inputs": dict(cast("dict[str, Any]", inputs))}
    samplers = sum("sampler_name" in node["inputs"] for node in found.values())
    return found if len(found) <= _MAX_NODES and samplers <= _MAX_SAMPLERS else {}


def _list_links(nodes: _Nodes) -> list[list[Any]]:
    """The graph's links as a workflow lists them, which is not there in images made through the API."""
    return [
        [number, source[0], source[1], name, 0, slot.upper()]
        for name, node in nodes.items()
        for number, (slot, source) in enumerate(node["inputs"].items())
        if isinstance(source, list) and len(cast("list[Any]", source)) == 2 and isinstance(source[0], str)
    ]


def _strip_links(nodes: _Nodes) -> _Nodes:
    """The nodes without the inputs that are links, but for samplers': the library takes a link called "model" for a
    file."""
    return {
        name: (
            {**node, "inputs": {slot: value for slot, value in node["inputs"].items() if not isinstance(value, list)}}
            if "sampler_name" not in node["inputs"]
            else node
        )
        for name, node in nodes.items()
    }


def _name_custom_samplers(nodes: _Nodes) -> None:
    """Give a sampler that is put together from parts (noise, guider, sampler, sigmas) the inputs of one that is not."""
    for node in nodes.values():
        if node["class_type"] != _CUSTOM_SAMPLER:
            continue
        parts: dict[str, Any] = {}
        for slot in ("guider", "noise", "sampler", "sigmas"):
            with contextlib.suppress(KeyError, TypeError, IndexError):
                parts |= nodes[node["inputs"][slot][0]]["inputs"]
        if "conditioning" in parts:
            parts["positive"] = parts.pop("conditioning")
        guidance = _find_input(nodes, "guidance")
        node["inputs"] = {"steps": None, "cfg": guidance, "sampler_name": "", **parts, **node["inputs"]}


def _find_input(nodes: _Nodes, name: str) -> Any:
    return next(
        (node["inputs"][name] for node in nodes.values() if not isinstance(node["inputs"].get(name, []), list)), None
    )


def _find_size(nodes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    for node in nodes.values():
        size = {side: node["inputs"].get(side) for side in ("width", "height")}
        if "Latent" in node["class_type"] and all(isinstance(side, int) for side in size.values()):
            return size
    return {}


def _list_loras(nodes: Mapping[str, dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [
        (node["inputs"]["lora_name"], node["inputs"].get("strength_model", 1.0))
        for node in nodes.values()
        if "LoraLoader" in node["class_type"] and isinstance(node["inputs"].get("lora_name"), str)
    ]

"""Weights of single blocks in a LoRA: its layers are scaled before they are put on, so that any loader takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from studio.core.block_weights import BASE

_NUMBER = r"[._](\d+)"
_COUNTED = (  # in a LoRA's names, with either kind of separator
    (re.compile(rf"input_blocks{_NUMBER}"), "IN{:02}"),
    (re.compile(rf"output_blocks{_NUMBER}"), "OUT{:02}"),
    (re.compile(rf"double_blocks{_NUMBER}|^(?:lora_)?transformer[._]transformer_blocks{_NUMBER}"), "DOUBLE{:02}"),
    (re.compile(rf"(?:single_blocks|single_transformer_blocks){_NUMBER}"), "SINGLE{:02}"),
    (re.compile(rf"joint_(?:transformer_)?blocks{_NUMBER}"), "JOINT{:02}"),
)
_DOWN = re.compile(rf"down_blocks{_NUMBER}[._](attentions|resnets|downsamplers){_NUMBER}")
_UP = re.compile(rf"up_blocks{_NUMBER}[._](attentions|resnets|upsamplers){_NUMBER}")
_MIDDLE = re.compile(r"mid(?:dle)?_block[._]")
_ENCODER = re.compile(r"^(?:lora_te|text_encoder|te\d?[._])")
_SCALED = (
    ".lora_up.",
    ".lora_B.",
    ".lora.up.",
    "_lora.up.",
    "lora_linear_layer.up.",
    ".hada_w1_a",
    ".lokr_w1",
    ".diff",
)
_NOT_SCALED = (".lokr_w1_b",)  # the other factor is


def scale_blocks(tensors: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, Any]:
    """`tensors` of a LoRA, with those of the blocks in `weights` scaled. One factor of each layer is multiplied."""
    return {
        name: tensor * weight
        if (weight := weights.get(find_lora_block(name), 1.0)) != 1.0 and _is_scaled(name)
        else tensor
        for name, tensor in tensors.items()
    }


def find_lora_block(name: str) -> str:
    """The block of the network that a LoRA's tensor is for, by the names of the original layout."""
    if _ENCODER.search(name):
        return BASE
    down, up = _DOWN.search(name), _UP.search(name)
    if down is not None:  # three places a level: two layers and what makes it smaller
        return f"IN{3 * int(down[1]) + (3 if down[2] == 'downsamplers' else int(down[3]) + 1):02}"
    if up is not None:
        return f"OUT{3 * int(up[1]) + (2 if up[2] == 'upsamplers' else int(up[3])):02}"
    for pattern, form in _COUNTED:
        found = pattern.search(name)
        if found is not None:
            return form.format(int(found[found.lastindex or 1]))
    return "M00" if _MIDDLE.search(name) else BASE


def _is_scaled(name: str) -> bool:
    return any(mark in name for mark in _SCALED) and not name.endswith(_NOT_SCALED)

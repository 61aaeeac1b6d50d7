"""LoRAs that diffusers cannot apply, added into the weights themselves: LoHa, LoKr, DoRA, Tucker, OFT, IA3, GLoRA,
PEFT's own layout.

The formulas are LyCORIS' (arXiv 2309.14859), DoRA's (arXiv 2402.09353), OFT's (arXiv 2306.07280), IA3's
(arXiv 2205.05638) and GLoRA's (arXiv 2306.07967). What the weights were is kept beside them,
so that taking a LoRA off leaves every bit as it was.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.request import LoraUse
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.catalog.model_folders import read_json
from studio.pipelines.run.lora_layers import Layer, index_layers

if TYPE_CHECKING:
    import torch

    Parts = Mapping[str, torch.Tensor]

_SPECIAL = (
    ".hada_",
    ".lokr_",
    ".lora_mid.",
    ".dora_scale",
    ".oft_blocks",
    ".oft_diag",
    ".on_input",
    ".a1.weight",
)
_BARE = ("down_blocks.", "up_blocks.", "mid_block.", "text_model.", "base_model.")
_METADATA = "lora_adapter_metadata"
_PART = re.compile(
    r"^(?P<layer>.+?)(?:"
    r"\.(?P<plain>alpha|dora_scale|diff|hada_\w+|lokr_\w+|oft_blocks|oft_diag|on_input|weight)"
    r"|\.(?P<generalized>[ab][12])\.weight"
    r"|\.lora_(?P<side>up|down|mid|A|B)(?:\.default)?\.weight"
    r"|[._]lora(?:_linear_layer)?\.(?P<old>up|down)\.weight"
    r"|\.lora_(?P<magnitude>magnitude_vector)(?:\.default)?(?:\.weight)?"
    r")$"
)
_SIDES = {"A": "down", "B": "up"}
_TUCKER = "abkl,bi,ao->oikl"


@dataclass(frozen=True)
class AppliedLayers:
    """How many of a file's layers the model has."""

    applied: int
    total: int


def needs_merging(header: SafetensorsHeader) -> bool:
    """Whether diffusers would refuse the file with this header, or apply it in part."""
    names = "\n".join(("", *header.shapes))
    if ".lokr_" in names and "\ndiffusion_model." in names:  # diffusers converts those of the transformer families
        return "blocks.0.0." in names or "\ndiffusion_model.input_blocks." in names
    if any(mark in names for mark in _SPECIAL):
        return True
    half_bytes = any(dtype.startswith("F8") for dtype in header.dtypes.values())
    return any(f"\n{start}" in names for start in _BARE) or (half_bytes and _METADATA in header.metadata)


class MergedLoras:
    """The weights of one pipeline that LoRAs were added to, with what they were before."""

    def __init__(self) -> None:
        self._kept: dict[Any, torch.Tensor] = {}

    def merge(self, pipe: Any, file: WeightFile, tensors: Mapping[str, Any], use: LoraUse) -> AppliedLayers:
        """Add the layers of `file`, whose `tensors` these are, to those of `pipe`, as strongly as `use` says.

        Raises:
            InvalidRequest: a layer of another size than the model's. Call `restore` then.
        """
        parts = _group_parts(tensors)
        index = index_layers(pipe)
        scale = _read_scaling(file)
        found = [(index[name], own) for name, own in parts.items() if name in index]
        for layer, own in found:
            strength = use.weight if use.encoder_weight is None or _is_denoiser(layer) else use.encoder_weight
            self._add(layer, own, strength, lambda rank, layer=layer: scale(layer, rank), file)
        return AppliedLayers(len(found), len(parts))

    def restore(self) -> None:
        """Every weight as it was."""
        for weight, before in self._kept.items():
            weight.data.copy_(before)
        self._kept.clear()

    def _add(
        self, layer: Layer, parts: Parts, strength: float, scale: Callable[[int], float], file: WeightFile
    ) -> None:
        weight = layer.module.weight
        before = weight.detach().float()
        try:
            change = _compute_change(parts, before, scale)
            if (change.shape[0], change.numel()) != (before.shape[0], before.numel()):
                raise ValueError(f"{_format_shape(change)} instead of {_format_shape(before)}")
            after = _normalize_columns(before, before + change.reshape(before.shape), parts)
        except (RuntimeError, ValueError, KeyError) as error:
            raise InvalidRequest(
                f"The layers of the LoRA {file.name} do not fit this model: {layer.path} has another size.",
                hint="It was made for another model; pick one that matches.",
                details={"lora": file.name, "layer": layer.path, "reason": str(error)},
            ) from error
        self._kept.setdefault(weight, weight.detach().clone())
        weight.data.copy_(before + strength * (after - before))


def _is_denoiser(layer: Layer) -> bool:
    return not layer.component.startswith("text_encoder")


def _format_shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape))


def _group_parts(tensors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tensors by layer, each under the name of its part; what is no part of a LoRA counts as a layer of its own."""
    layers: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        match = _PART.match(name)
        if match is None:
            layers.setdefault(f"{name} ", {})["unknown"] = tensor
            continue
        side = match["side"] or match["old"]
        part = match["plain"] or match["generalized"] or _SIDES.get(side, side) or match["magnitude"]
        layers.setdefault(match["layer"].replace(".processor", ""), {})[part] = tensor.float()
    for name, parts in [*layers.items()]:
        if "weight" in parts and "on_input" not in parts:  # IA3's weight, or that of some layer of a model
            layers[f"{name}.weight "] = {"unknown": parts.pop("weight")}
    return {name: parts for name, parts in layers.items() if parts.keys() - {"alpha"}}


def _compute_change(parts: Parts, before: torch.Tensor, scale: Callable[[int], float]) -> torch.Tensor:
    """What is added at full strength to the weight, which is `before`; (out, in, …), without DoRA's lengths."""
    parts = {name: tensor.to(before.device) for name, tensor in parts.items()}
    if "diff" in parts:
        return parts["diff"]
    if "on_input" in parts:  # IA3 scales the columns, or the rows
        shape = [1, -1] if bool(parts["on_input"]) else [-1, 1]
        return before * parts["weight"].reshape(*shape, *[1] * (before.ndim - 2))
    if "oft_blocks" in parts or "oft_diag" in parts:
        return _rotate_blocks(parts, before) - before
    change, rank = _multiply_factors(parts, before)
    if rank == 0:  # two full factors of a LoKr have no scale
        return change
    alpha = parts.get("alpha")
    return change * (scale(rank) if alpha is None else float(alpha) / rank)


def _rotate_blocks(parts: Parts, before: torch.Tensor) -> torch.Tensor:
    """OFT: the outputs in blocks, each turned by a matrix of its own. `oft_diag` are the matrices, `oft_blocks` what
    Cayley's formula makes them of, its length limited by alpha times the number of outputs; both (blocks, n, n)."""
    import torch

    turns = parts.get("oft_diag")
    if turns is None:
        skew = parts["oft_blocks"] - parts["oft_blocks"].transpose(1, 2)
        limit = float(parts.get("alpha", 0.0)) * before.shape[0]
        if limit > 0:
            length = skew.norm()
            skew = skew * ((length.clamp(max=limit) + 1e-8) / (length + 1e-8))
        unit = torch.eye(skew.shape[1], device=skew.device)
        turns = torch.linalg.solve(unit - skew, unit + skew)  # the two commute
    blocks = before.reshape(len(turns), turns.shape[1], -1)
    return torch.einsum("knm,knx->kmx", turns, blocks).reshape(before.shape)


def _multiply_factors(parts: Parts, before: torch.Tensor) -> tuple[torch.Tensor, int]:
    """(change, rank): rank is 0 where no factor is split."""
    import torch

    if "a1" in parts:  # GLoRA: a part that depends on the weight itself
        turned = before.flatten(1) @ parts["a2"].flatten(1) @ parts["a1"].flatten(1)
        return (parts["b2"].flatten(1) @ parts["b1"].flatten(1) + turned).reshape(before.shape), len(parts["b1"])
    if "hada_w1_a" in parts:
        one, two = (_multiply_pair(parts, f"hada_w{n}_a", f"hada_w{n}_b", f"hada_t{n}") for n in (1, 2))
        return one * two, parts["hada_w1_b"].shape[0]
    if "lokr_w1" in parts or "lokr_w1_a" in parts:
        factors = [
            parts[f"lokr_w{n}"]
            if f"lokr_w{n}" in parts
            else _multiply_pair(parts, f"lokr_w{n}_a", f"lokr_w{n}_b", f"lokr_t{n}")
            for n in (1, 2)
        ]
        ranks = [parts[f"lokr_w{n}_b"].shape[0] for n in (2, 1) if f"lokr_w{n}_b" in parts]
        first = factors[0].reshape(*factors[0].shape, *[1] * (factors[1].ndim - factors[0].ndim))
        return torch.kron(first, factors[1].contiguous()), ranks[0] if ranks else 0
    down, up = parts["down"], parts["up"]
    rank = down.shape[0]
    if "mid" in parts:
        return torch.einsum("abkl,bi,oa->oikl", parts["mid"], down.flatten(1), up.flatten(1)), rank
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:]), rank


def _multiply_pair(parts: Parts, left: str, right: str, core: str) -> torch.Tensor:
    import torch

    if core in parts:
        return torch.einsum(_TUCKER, parts[core], parts[right], parts[left])
    return parts[left] @ parts[right]


def _normalize_columns(before: torch.Tensor, after: torch.Tensor, parts: Parts) -> torch.Tensor:
    """DoRA's direction and length: `after` with the norms that the file says; without them as it is."""
    wanted = parts.get("dora_scale", parts.get("magnitude_vector"))
    if wanted is None:
        return after
    by_output = "magnitude_vector" in parts or wanted.shape[0] == before.shape[0]
    others = [axis for axis in range(after.ndim) if axis != (0 if by_output else 1)]
    norms = after.norm(dim=others, keepdim=True) + 1e-12
    return after * (wanted.to(after.device).reshape(norms.shape) / norms)


def _read_scaling(file: WeightFile) -> Callable[[Layer, int], float]:
    """The scale of a layer of some rank whose file gives it no alpha: as PEFT's own settings say, in the file's header
    or in the adapter_config.json beside it; else 1."""
    settings = _read_settings(file)

    def scale(layer: Layer, rank: int) -> float:
        own = {name.removeprefix(f"{layer.component}."): value for name, value in settings.items()}
        alpha = _match_pattern(own.get("alpha_pattern"), layer.path, own.get("lora_alpha"))
        if not isinstance(alpha, int | float):
            return 1.0
        return alpha / (math.sqrt(rank) if own.get("use_rslora") else rank)

    return scale


def _read_settings(file: WeightFile) -> Mapping[str, Any]:
    from studio.pipelines.catalog.file_headers import read_header

    try:
        beside = file.path.with_name("adapter_config.json")
        if file.path.stem == "adapter_model" and beside.is_file():
            return read_json(beside)
        found = json.loads(read_header(file.path).metadata.get(_METADATA, "{}"))
    except (ModelBroken, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _match_pattern(pattern: Any, path: str, otherwise: Any) -> Any:
    """PEFT's rule: a key of a pattern stands for every layer whose path ends in it."""
    if not isinstance(pattern, dict):
        return otherwise
    return next((value for key, value in pattern.items() if re.fullmatch(rf"(.*\.)?({key})", path)), otherwise)

"""Transformers in one file, whose weights may be in 8 bits with or without scales, or in GGUF's blocks.

Plain 8 bits are what torch can convert. Files with scales ("fp8 scaled") say so by a tensor beside each weight that it
has to be multiplied with; dropped, the weights mean nothing. GGUF stays as it is in memory and is expanded layer by
layer by diffusers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.ports import LoadOptions
from studio.core.weight_reading import read_tensors_where, use_lowercase_ending
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.catalog.file_headers import read_header

_SCALES = (".scale_weight", ".weight_scale")
_LEFT_OUT = (".scale_input", ".input_scale", ".comfy_quant")  # of what is given to a layer, which is not quantised here
_MARKER = "scaled_fp8"
_OTHER_PARTS = ("text_encoders.", "vae.", "first_stage_model.", "conditioner.", "cond_stage_model.")
_ROOM = 0.8  # share of a graphics card's memory that the expanded weights may take


def is_gguf(path: Path) -> bool:
    return path.suffix.lower() == ".gguf"


def has_scales(header: SafetensorsHeader) -> bool:
    """Whether weights have to be multiplied with scales."""
    return any(name.endswith(_SCALES) for name in header.shapes)


def load_transformer(weight: WeightFile, options: LoadOptions, class_name: str, config: Path) -> Any:
    """The transformer of the class `class_name` in a single file, by the config in the folder `config`, on the CPU.

    Raises:
        ValueError, KeyError, OSError: a file that does not hold it.
    """
    import diffusers
    import torch
    from diffusers.quantizers.quantization_config import GGUFQuantizationConfig

    cls, dtype = getattr(diffusers, class_name), getattr(torch, options.dtype)
    settings = {"config": str(config), "dtype": dtype, "local_files_only": True}
    if is_gguf(weight.path):
        quantisation = GGUFQuantizationConfig(compute_dtype=dtype)
        return cls.from_single_file(str(weight.path), quantization_config=quantisation, **settings)
    header = weight.header or read_header(weight.path)
    if has_scales(header) or any(name.startswith(_OTHER_PARTS) for name in header.shapes):
        tensors = read_tensors_where(weight.path, lambda name: not name.startswith(_OTHER_PARTS))
        model = cls.from_single_file(expand_scaled(tensors, dtype), **settings)
    else:
        with use_lowercase_ending(weight.path) as path:
            model = cls.from_single_file(str(path), **settings)
    if _should_stay_small(header, model, options.device):
        model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    return model


def expand_scaled(tensors: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """The weights in `dtype`, multiplied with their scales, without what belongs to the quantisation alone. Empties
    `tensors`, so that nothing is held twice."""
    scales = dict(_take_scales(tensors))
    found: dict[str, Any] = {}
    for name in list(tensors):
        tensor = tensors.pop(name)
        if name.rsplit(".", 1)[-1] == _MARKER or name.endswith(_LEFT_OUT):
            continue
        scale = scales.get(name)
        if scale is not None:
            rows = (-1, *[1] * (tensor.ndim - 1)) if scale.numel() > 1 else ()
            tensor = tensor.float() * (scale.float().reshape(rows) if rows else scale.float())
        found[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return found


def _take_scales(tensors: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name of the weight, its scale); they are taken out of `tensors`."""
    for name in list(tensors):
        ending = next((end for end in _SCALES if name.endswith(end)), "")
        if ending:
            yield name.removesuffix(ending) + ".weight", tensors.pop(name)


def _should_stay_small(header: SafetensorsHeader, model: Any, device: str) -> bool:
    """Whether weights that came in 8 bits would not fit the graphics card in 16."""
    import torch

    if device != "cuda" or not any(dtype.startswith("F8") for dtype in header.dtypes.values()):
        return False
    total = torch.cuda.get_device_properties(0).total_memory
    return sum(tensor.numel() * tensor.element_size() for tensor in model.parameters()) > _ROOM * total

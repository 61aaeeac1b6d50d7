"""The layers of a pipeline by every name that LoRA files use for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_DENOISERS = ("unet", "transformer")
_ENCODERS = {"text_encoder": ("lora_te_", "lora_te1_"), "text_encoder_2": ("lora_te2_",)}
_TEXT_MODEL = "text_model."
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


@dataclass(frozen=True)
class Layer:
    """One layer that has a weight: its component, its path inside that as diffusers has it, and the module itself, a
    LoRA's wrapper taken off."""

    component: str
    path: str
    module: Any


def index_layers(pipe: Any) -> dict[str, Layer]:
    """Every layer of the denoiser and the text encoders by its names: diffusers', PEFT's, kohya's, LyCORIS' and those
    of the original UNet."""
    index: dict[str, Layer] = {}
    for component in (*_DENOISERS, *_ENCODERS):
        model = getattr(pipe, component, None)
        if model is None:
            continue
        for path, module in _list_weighted(model):
            layer = Layer(component, path, module)
            for name in _list_names(component, path, model):
                index.setdefault(name, layer)
    return index


def _list_weighted(model: Any) -> Iterator[tuple[str, Any]]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            yield path, module.get_base_layer()
        elif getattr(module, "weight", None) is not None and ".base_layer" not in path:
            yield path, module


def _list_names(component: str, path: str, model: Any) -> Iterator[str]:
    if component in _ENCODERS:
        bare = path.removeprefix(_TEXT_MODEL)  # transformers 5 took the level out of one of the two classes
        for one in (bare, _TEXT_MODEL + bare):
            yield from (f"{component}.{one}", f"base_model.model.{one}", one)
            yield from (prefix + one.replace(".", "_") for prefix in _ENCODERS[component])
        return
    ways = [path]
    if path.endswith("to_out.0"):
        ways.append(path.removesuffix(".0"))
    if component == "unet":
        ways.append(_find_original_path(path, model.config))
    for one in filter(None, ways):
        yield from (f"{component}.{one}", f"base_model.model.{one}", f"diffusion_model.{one}", one)
        flat = one.replace(".", "_")
        yield from (f"lora_unet_{flat}", f"lora_transformer_{flat}", f"lycoris_{flat}")


def _find_original_path(path: str, config: Any) -> str:
    """The path of a diffusers UNet's layer in Stability's own UNet, "" where it has none."""
    if path in _OUTSIDE_BLOCKS:
        return _OUTSIDE_BLOCKS[path]
    parts = path.split(".")
    if parts[0] == "mid_block":
        kind, number, inner = parts[1], int(parts[2]), ".".join(parts[3:])
        place = 2 * number if kind == "resnets" else 1
        return f"middle_block.{place}.{_RESNET.get(inner, inner)}"
    if parts[0] not in ("down_blocks", "up_blocks") or len(parts) < 5:
        return ""
    block, kind, number, inner = int(parts[1]), parts[2], int(parts[3]), ".".join(parts[4:])
    each = config.layers_per_block + 1
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * each}.0.op"
    if kind == "upsamplers":
        attends = "Attn" in config.up_block_types[block]
        return f"output_blocks.{block * each + each - 1}.{2 if attends else 1}.{inner}"
    base, name = (1, "input_blocks") if parts[0] == "down_blocks" else (0, "output_blocks")
    slot = 0 if kind == "resnets" else 1
    return f"{name}.{base + block * each + number}.{slot}.{_RESNET.get(inner, inner)}"

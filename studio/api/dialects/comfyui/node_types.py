"""The nodes that are understood: their inputs and outputs, for object_info and for checking graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from studio.api.dialects.automatic1111.names import list_checkpoints, list_upscalers
from studio.core.foreign_samplers import COMFYUI_SAMPLERS, COMFYUI_SCHEDULES
from studio.core.model import Model
from studio.core.weights import WeightFile, WeightKind

MAX_COMFY_SEED = 2**64 - 1
MAX_RESOLUTION = 16384
ENDING = ".safetensors"
INPUT_FILES = "input files"
WEBSOCKET_NODE = "SaveImageWebsocket"  # its images go over the socket, and nowhere else
_VALUE_KINDS = ("INT", "FLOAT", "STRING")


class Choices(StrEnum):
    """Where a list takes its entries from."""

    CHECKPOINTS = "checkpoints"
    LORAS = "loras"
    VAES = "vae"
    CONTROL_NETS = "controlnet"
    UPSCALERS = "upscale_models"
    SAMPLERS = "samplers"
    SCHEDULERS = "schedulers"
    FILES = INPUT_FILES
    RESIZES = "resizes"
    CROPS = "crops"
    SWITCH = "switch"
    CHANNELS = "channels"
    CONDITION_AREAS = "condition areas"
    CLIP_TYPES = "clip types"
    WEIGHT_TYPES = "weight types"


@dataclass(frozen=True, kw_only=True)
class NodeInput:
    """One input. `kind` is ComfyUI's type, or a list of choices. Numbers have their range."""

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    default: Any = None
    required: bool = True
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_link(self) -> bool:
        """Whether it takes the output of another node, never a value."""
        return self.kind.isupper() and self.kind not in ("INT", "FLOAT", "STRING", "BOOLEAN")


@dataclass(frozen=True, kw_only=True)
class NodeType:
    """One class of nodes."""

    inputs: tuple[NodeInput, ...] = ()
    outputs: tuple[str, ...] = ()
    category: str = "easel"
    is_output: bool = False


def _link(name: str, kind: str, *, required: bool = True) -> NodeInput:
    return NodeInput(name=name, kind=kind, required=required)


def _choice(name: str, source: Choices) -> NodeInput:
    return NodeInput(name=name, kind=source)


def _number(name: str, low: float, high: float, default: float, *, kind: str = "FLOAT") -> NodeInput:
    return NodeInput(name=name, kind=kind, low=low, high=high, default=default)


def _whole(name: str, low: int, high: int, default: int) -> NodeInput:
    return _number(name, low, high, default, kind="INT")


def _text(name: str, default: str = "", **options: Any) -> NodeInput:
    return NodeInput(name=name, kind="STRING", default=default, options=options)


_SIZE = (_whole("width", 16, MAX_RESOLUTION, 512), _whole("height", 16, MAX_RESOLUTION, 512))
_STRENGTH = _number("strength", 0, 10, 1)
_SAMPLING = (
    _whole("steps", 1, 10_000, 20),
    _number("cfg", 0, 100, 8),
    _choice("sampler_name", Choices.SAMPLERS),
    _choice("scheduler", Choices.SCHEDULERS),
    _link("positive", "CONDITIONING"),
    _link("negative", "CONDITIONING"),
    _link("latent_image", "LATENT"),
)
_EMPTY_LATENT = NodeType(inputs=(*_SIZE, _whole("batch_size", 1, 4096, 1)), outputs=("LATENT",), category="latent")

NODE_TYPES: dict[str, NodeType] = {
    "KSampler": NodeType(
        inputs=(
            _link("model", "MODEL"),
            _whole("seed", 0, MAX_COMFY_SEED, 0),
            *_SAMPLING,
            _number("denoise", 0, 1, 1),
        ),
        outputs=("LATENT",),
        category="sampling",
    ),
    "KSamplerAdvanced": NodeType(
        inputs=(
            _link("model", "MODEL"),
            _choice("add_noise", Choices.SWITCH),
            _whole("noise_seed", 0, MAX_COMFY_SEED, 0),
            *_SAMPLING,
            _whole("start_at_step", 0, 10_000, 0),
            _whole("end_at_step", 0, 10_000, 10_000),
            _choice("return_with_leftover_noise", Choices.SWITCH),
        ),
        outputs=("LATENT",),
        category="sampling",
    ),
    "CheckpointLoaderSimple": NodeType(
        inputs=(_choice("ckpt_name", Choices.CHECKPOINTS),), outputs=("MODEL", "CLIP", "VAE"), category="loaders"
    ),
    "UNETLoader": NodeType(
        inputs=(_choice("unet_name", Choices.CHECKPOINTS), _choice("weight_dtype", Choices.WEIGHT_TYPES)),
        outputs=("MODEL",),
        category="advanced/loaders",
    ),
    "CLIPLoader": NodeType(
        inputs=(_choice("clip_name", Choices.CHECKPOINTS), _choice("type", Choices.CLIP_TYPES)),
        outputs=("CLIP",),
        category="advanced/loaders",
    ),
    "VAELoader": NodeType(inputs=(_choice("vae_name", Choices.VAES),), outputs=("VAE",), category="loaders"),
    "LoraLoader": NodeType(
        inputs=(
            _link("model", "MODEL"),
            _link("clip", "CLIP"),
            _choice("lora_name", Choices.LORAS),
            _number("strength_model", -100, 100, 1),
            _number("strength_clip", -100, 100, 1),
        ),
        outputs=("MODEL", "CLIP"),
        category="loaders",
    ),
    "LoraLoaderModelOnly": NodeType(
        inputs=(
            _link("model", "MODEL"),
            _choice("lora_name", Choices.LORAS),
            _number("strength_model", -100, 100, 1),
        ),
        outputs=("MODEL",),
        category="loaders",
    ),
    "CLIPSetLastLayer": NodeType(
        inputs=(_link("clip", "CLIP"), _whole("stop_at_clip_layer", -24, -1, -1)),
        outputs=("CLIP",),
        category="conditioning",
    ),
    "CLIPTextEncode": NodeType(
        inputs=(_text("text", multiline=True, dynamicPrompts=True), _link("clip", "CLIP")),
        outputs=("CONDITIONING",),
        category="conditioning",
    ),
    "ConditioningZeroOut": NodeType(
        inputs=(_link("conditioning", "CONDITIONING"),), outputs=("CONDITIONING",), category="advanced/conditioning"
    ),
    "ConditioningCombine": NodeType(
        inputs=(_link("conditioning_1", "CONDITIONING"), _link("conditioning_2", "CONDITIONING")),
        outputs=("CONDITIONING",),
        category="conditioning",
    ),
    "ConditioningSetArea": NodeType(
        inputs=(
            _link("conditioning", "CONDITIONING"),
            _whole("width", 64, MAX_RESOLUTION, 64),
            _whole("height", 64, MAX_RESOLUTION, 64),
            _whole("x", 0, MAX_RESOLUTION, 0),
            _whole("y", 0, MAX_RESOLUTION, 0),
            _STRENGTH,
        ),
        outputs=("CONDITIONING",),
        category="conditioning",
    ),
    "ConditioningSetAreaPercentage": NodeType(
        inputs=(
            _link("conditioning", "CONDITIONING"),
            _number("width", 0, 1, 1),
            _number("height", 0, 1, 1),
            _number("x", 0, 1, 0),
            _number("y", 0, 1, 0),
            _STRENGTH,
        ),
        outputs=("CONDITIONING",),
        category="conditioning",
    ),
    "ConditioningSetAreaStrength": NodeType(
        inputs=(_link("conditioning", "CONDITIONING"), _STRENGTH), outputs=("CONDITIONING",), category="conditioning"
    ),
    "ConditioningSetMask": NodeType(
        inputs=(
            _link("conditioning", "CONDITIONING"),
            _link("mask", "MASK"),
            _STRENGTH,
            _choice("set_cond_area", Choices.CONDITION_AREAS),
        ),
        outputs=("CONDITIONING",),
        category="conditioning",
    ),
    "ControlNetLoader": NodeType(
        inputs=(_choice("control_net_name", Choices.CONTROL_NETS),), outputs=("CONTROL_NET",), category="loaders"
    ),
    "ControlNetApply": NodeType(
        inputs=(
            _link("conditioning", "CONDITIONING"),
            _link("control_net", "CONTROL_NET"),
            _link("image", "IMAGE"),
            _number("strength", 0, 10, 1),
        ),
        outputs=("CONDITIONING",),
        category="conditioning/controlnet",
    ),
    "ControlNetApplyAdvanced": NodeType(
        inputs=(
            _link("positive", "CONDITIONING"),
            _link("negative", "CONDITIONING"),
            _link("control_net", "CONTROL_NET"),
            _link("image", "IMAGE"),
            _number("strength", 0, 10, 1),
            _number("start_percent", 0, 1, 0),
            _number("end_percent", 0, 1, 1),
            _link("vae", "VAE", required=False),
        ),
        outputs=("CONDITIONING", "CONDITIONING"),
        category="conditioning/controlnet",
    ),
    "EmptyLatentImage": _EMPTY_LATENT,
    "EmptySD3LatentImage": _EMPTY_LATENT,
    "LatentUpscale": NodeType(
        inputs=(
            _link("samples", "LATENT"),
            _choice("upscale_method", Choices.RESIZES),
            _whole("width", 0, MAX_RESOLUTION, 512),
            _whole("height", 0, MAX_RESOLUTION, 512),
            _choice("crop", Choices.CROPS),
        ),
        outputs=("LATENT",),
        category="latent",
    ),
    "LatentUpscaleBy": NodeType(
        inputs=(
            _link("samples", "LATENT"),
            _choice("upscale_method", Choices.RESIZES),
            _number("scale_by", 0.01, 8, 1.5),
        ),
        outputs=("LATENT",),
        category="latent",
    ),
    "SetLatentNoiseMask": NodeType(
        inputs=(_link("samples", "LATENT"), _link("mask", "MASK")), outputs=("LATENT",), category="latent/inpaint"
    ),
    "VAEEncode": NodeType(
        inputs=(_link("pixels", "IMAGE"), _link("vae", "VAE")), outputs=("LATENT",), category="latent"
    ),
    "VAEEncodeForInpaint": NodeType(
        inputs=(
            _link("pixels", "IMAGE"),
            _link("vae", "VAE"),
            _link("mask", "MASK"),
            _whole("grow_mask_by", 0, 64, 6),
        ),
        outputs=("LATENT",),
        category="latent/inpaint",
    ),
    "VAEDecode": NodeType(
        inputs=(_link("samples", "LATENT"), _link("vae", "VAE")), outputs=("IMAGE",), category="latent"
    ),
    "LoadImage": NodeType(
        inputs=(NodeInput(name="image", kind=Choices.FILES, options={"image_upload": True}),),
        outputs=("IMAGE", "MASK"),
        category="image",
    ),
    "LoadImageMask": NodeType(
        inputs=(
            NodeInput(name="image", kind=Choices.FILES, options={"image_upload": True}),
            _choice("channel", Choices.CHANNELS),
        ),
        outputs=("MASK",),
        category="mask",
    ),
    "ImageScale": NodeType(
        inputs=(
            _link("image", "IMAGE"),
            _choice("upscale_method", Choices.RESIZES),
            _whole("width", 0, MAX_RESOLUTION, 512),
            _whole("height", 0, MAX_RESOLUTION, 512),
            _choice("crop", Choices.CROPS),
        ),
        outputs=("IMAGE",),
        category="image/upscaling",
    ),
    "UpscaleModelLoader": NodeType(
        inputs=(_choice("model_name", Choices.UPSCALERS),), outputs=("UPSCALE_MODEL",), category="loaders"
    ),
    "ImageUpscaleWithModel": NodeType(
        inputs=(_link("upscale_model", "UPSCALE_MODEL"), _link("image", "IMAGE")),
        outputs=("IMAGE",),
        category="image/upscaling",
    ),
    "SaveImage": NodeType(
        inputs=(_link("images", "IMAGE"), _text("filename_prefix", "ComfyUI")), category="image", is_output=True
    ),
    "PreviewImage": NodeType(inputs=(_link("images", "IMAGE"),), category="image", is_output=True),
    WEBSOCKET_NODE: NodeType(inputs=(_link("images", "IMAGE"),), category="api/image", is_output=True),
}

_FIXED_CHOICES: dict[Choices, tuple[str, ...]] = {
    Choices.RESIZES: ("nearest-exact", "bilinear", "area", "bicubic", "bislerp", "lanczos"),
    Choices.CROPS: ("disabled", "center"),
    Choices.SWITCH: ("enable", "disable"),
    Choices.CHANNELS: ("alpha", "red", "green", "blue"),
    Choices.CONDITION_AREAS: ("default", "mask bounds"),
    Choices.CLIP_TYPES: ("stable_diffusion", "sd3", "flux"),
    Choices.WEIGHT_TYPES: ("default",),
}


def list_choices(
    source: Choices, models: Sequence[Model], weights: Sequence[WeightFile], files: Callable[[], Sequence[str]]
) -> list[str]:
    """The entries of a list, file names with their ending; `files` gives the caller's uploads."""
    if source in _FIXED_CHOICES:
        return list(_FIXED_CHOICES[source])
    if source is Choices.FILES:
        return list(files())
    if source is Choices.CHECKPOINTS:
        return [model.id + ENDING for model in list_checkpoints(models)]
    if source is Choices.UPSCALERS:
        return [name + ".pth" for name in list_upscalers(models)]
    if source is Choices.SAMPLERS:
        known = {name for model in list_checkpoints(models) for name in model.sampling.combinations}
        return [name for name, own in COMFYUI_SAMPLERS.items() if own in known or not known]
    if source is Choices.SCHEDULERS:
        return list(COMFYUI_SCHEDULES)
    kinds = {
        Choices.LORAS: (WeightKind.LORA,),
        Choices.VAES: (WeightKind.VAE,),
        Choices.CONTROL_NETS: (WeightKind.CONTROLNET, WeightKind.T2I_ADAPTER),
    }[source]
    return sorted(one.name + ENDING for one in weights if one.kind in kinds and not one.problem)


def describe_node(name: str, choices: Callable[[Choices], list[str]]) -> dict[str, Any]:
    """One entry of object_info."""
    node = NODE_TYPES[name]
    required = {one.name: _describe_input(one, choices) for one in node.inputs if one.required}
    optional = {one.name: _describe_input(one, choices) for one in node.inputs if not one.required}
    return {
        "input": {"required": required, **({"optional": optional} if optional else {})},
        "input_order": {
            "required": list(required),
            **({"optional": list(optional)} if optional else {}),
        },
        "output": list(node.outputs),
        "output_is_list": [False] * len(node.outputs),
        "output_name": list(node.outputs),
        "name": name,
        "display_name": name,
        "description": "",
        "python_module": "nodes",
        "category": node.category,
        "output_node": node.is_output,
    }


def _describe_input(one: NodeInput, choices: Callable[[Choices], list[str]]) -> list[Any]:
    if isinstance(one.kind, Choices):
        return [choices(one.kind), dict(one.options)] if one.options else [choices(one.kind)]
    options = dict(one.options)
    if one.default is not None:
        options["default"] = one.default
    if one.low is not None:
        options |= {"min": one.low, "max": one.high}
    return [str(one.kind), options] if options else [str(one.kind)]

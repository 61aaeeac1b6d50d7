"""Single files of Stable Diffusion 1 and 2, which have one layout: what is in them, and how they are described and
loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.model import Feature, Model, Sizes
from studio.core.ports import LoadOptions
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weight_reading import read_tensors_below, use_lowercase_ending
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.catalog.model_folders import read_component_config
from studio.pipelines.families import _parts
from studio.pipelines.run.formula_table import ADAPTIVE_FORMULAS, UNGUIDED_SAMPLERS
from studio.pipelines.run.samplers import DIFFUSION_SAMPLERS

_TEXT_TO_IMAGE, _INPAINT, _INSTRUCT = (
    "StableDiffusionPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionInstructPix2PixPipeline",
)
PIPELINE_CLASSES = (_TEXT_TO_IMAGE, "StableDiffusionPAGPipeline", _INPAINT, _INSTRUCT)
_INPAINT_CHANNELS, _INSTRUCT_CHANNELS = 9, 8
_INSTRUCT_PLACE = 2
_CONTEXT = (
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
)
_VAE = "first_stage_model.decoder.conv_in.weight"
_OLD_TEXT = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
_TEXT = (
    "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",
    "cond_stage_model.transformer.embeddings.position_embedding.weight",
    "cond_stage_model.model.token_embedding.weight",
)


def read_text_width(header: SafetensorsHeader) -> int:
    """The width of the text states that the UNet attends to: 768 in Stable Diffusion 1, 1024 in 2; 0 when this is no
    such UNet."""
    if _parts.has_any(header, "label_emb.0.0.weight", "add_embedding.linear_1.weight"):
        return 0  # Stable Diffusion XL
    return next((header.shapes[name][1] for name in _CONTEXT if name in header.shapes), 0)


def find_problem(weight: WeightFile) -> str:
    """Why the checkpoint cannot be used, empty when it can."""
    header = weight.header
    if weight.is_folder or header is None:
        return ""
    if not any(name.startswith("model.diffusion_model.") for name in header.shapes):
        return "It is a UNet alone, without text encoder and VAE."
    return "" if any(name in header.shapes for name in _TEXT) else "It holds no text encoder."


def read_input_channels(weight: WeightFile) -> int:
    """Input channels of the UNet: 4 for text to image, 9 for inpainting, 8 for instructions; 0 when unknown."""
    if weight.is_folder:
        channels = read_component_config(weight.path, "unet").get("in_channels")
        return channels if isinstance(channels, int) else 0
    names = ("model.diffusion_model.input_blocks.0.0.weight", "conv_in.weight")
    header = _parts.get_header(weight)
    shapes = header.shapes if header else {}
    return next((shape[1] for name in names if len(shape := shapes.get(name, ())) > 1), 0)


def _attends_to_all_places(weight: WeightFile) -> bool:
    """Whether the UNet has attention at the latents' full resolution, as Stable Diffusion 1 and 2 have."""
    if weight.is_folder:
        kinds = read_component_config(weight.path, "unet").get("down_block_types") or [""]
        return str(kinds[0]).startswith("CrossAttn")
    header = _parts.get_header(weight)
    names = ("input_blocks.1.1.norm.weight", "down_blocks.0.attentions.0.norm.weight")
    return header is not None and _parts.has_any(header, *names)


@dataclass(frozen=True)
class UNetTraining:
    """The task of a UNet by its input channels: the place in `classes` of its pipeline, and what a model says
    of it."""

    place: int = 0
    tasks: frozenset[Task] = _parts.TASKS
    features: frozenset[Feature] = _parts.FEATURES
    ignores: str = ""

    @property
    def combinations(self) -> dict[str, tuple[str, ...]]:
        """The samplers and their schedules. The pipeline for instructions cannot end before its last timestep, and is
        guided in two directions."""
        left_out = (*ADAPTIVE_FORMULAS, *UNGUIDED_SAMPLERS) if self.place == _INSTRUCT_PLACE else ()
        return {name: schedules for name, schedules in DIFFUSION_SAMPLERS.items() if name not in left_out}

    def pick_class(self, classes: tuple[str, str, str]) -> str:
        """The one of (text to image, inpainting, instructions)."""
        return classes[self.place]


def detect_training(weight: WeightFile) -> UNetTraining:
    """Text to image and all that can be made of it; masks only; or instructions only."""
    channels = read_input_channels(weight)
    missing = set[Feature]() if _attends_to_all_places(weight) else {Feature.TOKEN_MERGING}
    if channels == _INPAINT_CHANNELS:
        return UNetTraining(1, _parts.MASKED_TASKS, _parts.INPAINT_FEATURES - missing)
    if channels == _INSTRUCT_CHANNELS:
        return UNetTraining(_INSTRUCT_PLACE, frozenset({Task.EDIT}), _parts.INSTRUCT_FEATURES, _parts.IGNORES_SYNTAX)
    return UNetTraining(features=_parts.FEATURES - missing)


def load_unet(weight: WeightFile, options: LoadOptions, config: Path) -> dict[str, Any]:
    """The UNet of a single file whose input is not the one in the folder `config`, as a part to load it with; else
    nothing."""
    channels = read_input_channels(weight)
    if channels not in (_INPAINT_CHANNELS, _INSTRUCT_CHANNELS):
        return {}
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with use_lowercase_ending(weight.path) as path:
        loaded = UNet2DConditionModel.from_single_file(
            str(path),
            config=str(config / "unet"),
            in_channels=channels,
            dtype=getattr(torch, options.dtype),
            local_files_only=True,
        )
    return {"unet": loaded}


def has_vae(weight: WeightFile) -> bool:
    """Whether the checkpoint can decode what it draws."""
    header = _parts.get_header(weight)
    return header is None or _VAE in header.shapes


def make_missing_parts(weight: WeightFile, options: LoadOptions, config: Path) -> dict[str, Any]:
    """The parts that diffusers does not find in a single file, built by the configs in the folder
    `config`: a text encoder in the layout of 2022, and an empty VAE in place of none.

    Raises:
        ValueError: the text encoder is not whole.
    """
    import torch

    header = _parts.get_header(weight)
    names = header.shapes if header else {}
    parts: dict[str, Any] = {}
    for prefix in _OLD_TEXT:
        if f"{prefix}embeddings.position_embedding.weight" in names:
            parts["text_encoder"] = _load_old_encoder(weight, prefix, config).to(getattr(torch, options.dtype))
    if not has_vae(weight):
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        vae: Any = AutoencoderKL
        parts["vae"] = vae.from_config(vae.load_config(config / "vae")).to(getattr(torch, options.dtype))
    return parts


def _load_old_encoder(weight: WeightFile, prefix: str, config: Path) -> Any:
    """CLIP's text encoder whose layers are not below "text_model."."""
    from transformers import CLIPTextConfig, CLIPTextModel

    model = CLIPTextModel(CLIPTextConfig.from_pretrained(config / "text_encoder", local_files_only=True))
    below = "text_model." if hasattr(model, "text_model") else ""
    tensors = {below + name: tensor for name, tensor in read_tensors_below(weight.path, prefix).items()}
    missing, _ = model.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("position_ids")]
    if missing:
        raise ValueError(f"{missing[0]} is missing in its text encoder")
    return model.eval()


def read_native_side(weight: WeightFile, otherwise: int) -> int:
    """The side in px of the images that a folder's checkpoint was trained at."""
    unet, vae = read_component_config(weight.path, "unet"), read_component_config(weight.path, "vae")
    sample = unet.get("sample_size")
    blocks = vae.get("block_out_channels") or vae.get("decoder_block_out_channels") or [0] * 4
    if isinstance(sample, list):
        sample = max(sample)
    return sample * 2 ** (len(blocks) - 1) if isinstance(sample, int) else otherwise


def build_clip_sizes(side: int) -> Sizes:
    """The sizes of a UNet that was trained at `side`²."""
    return _parts.build_sizes(side, multiple=8, smallest=64, largest=4 * side)


def load_clip_pipeline(weight: WeightFile, options: LoadOptions, config: str, prediction: str, pad_token: str) -> Any:
    """The pipeline that the UNet was trained for, without safety checker: its gigabyte is no part of drawing."""
    class_name = detect_training(weight).pick_class((_TEXT_TO_IMAGE, _INPAINT, _INSTRUCT))
    if weight.is_folder:
        parts = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        return _parts.load_folder(weight, options, class_name, **parts)
    folder = _parts.CONFIGS / config
    return _parts.load_file(
        weight,
        options,
        class_name,
        folder,
        tokenizer=_parts.load_clip_tokenizer(pad_token),
        scheduler=_parts.load_clip_scheduler(folder, prediction),
        **load_unet(weight, options, folder),
        **make_missing_parts(weight, options, folder),
    )


def build_clip_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    """All of Stable Diffusion 1, 2 and XL call it guidance_scale."""
    return {"guidance_scale": request.guidance}

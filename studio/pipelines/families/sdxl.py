"""Stable Diffusion XL and its finetunes (Pony, Illustrious, NoobAI, Turbo, Lightning, …)."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from studio.core.family_facts import AddOnFacts, ControlFacts
from studio.core.model import Feature, Model, Sampling, Sizes
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind
from studio.pipelines.catalog.model_folders import read_json
from studio.pipelines.families import _clip, _few_steps, _parts

_CLASSES = (
    "StableDiffusionXLPipeline",
    "StableDiffusionXLInpaintPipeline",
    "StableDiffusionXLInstructPix2PixPipeline",
)
_REFINER_CLASS = "StableDiffusionXLImg2ImgPipeline"
_REFINER_FEATURES = _parts.INPAINT_FEATURES - {Feature.LORA, Feature.EMBEDDING, Feature.TOKEN_MERGING}
_REFINER_NOTE = "A refiner: it generates the last part of another model's images, or changes images."
_TRAINED = (
    (1024, 1024),
    (896, 1152),
    (1152, 896),
    (832, 1216),
    (1216, 832),
    (768, 1344),
    (1344, 768),
    (640, 1536),
    (1536, 640),
)
"""The commonest buckets of the SDXL report (arXiv 2307.01952, appendix I)."""
_SIZES = Sizes(liked=_TRAINED, multiple=8, smallest=256, largest=4096, max_pixels=4096 * 4096)
_TURBO = re.compile(r"^sd[_-]?xl[_-]?turbo")  # Stability's own, trained at 512²; finetunes of it are not
_TEXT = "conditioner.embedders.1.model.positional_embedding"
_REFINER = "conditioner.embedders.0.model.positional_embedding"


def _detect_sdxl(header: SafetensorsHeader) -> bool:
    return _parts.has_any(header, "label_emb.0.0.weight", "add_embedding.linear_1.weight") and (
        _parts.has_any(header, "input_blocks.4.1.proj_in.weight", "input_blocks.4.1.norm.weight")
        or any(name.startswith(("down_blocks.1.attentions.", "down_blocks.2.attentions.")) for name in header.shapes)
    )


def _find_sdxl_problem(weight: WeightFile) -> str:
    header = weight.header
    if weight.is_folder or header is None:
        return ""
    if not any(name.startswith("model.diffusion_model.") for name in header.shapes):
        return "It is a UNet alone, without text encoders and VAE."
    return "" if _TEXT in header.shapes or _REFINER in header.shapes else "It holds no text encoders."


def _is_refiner(weight: WeightFile) -> bool:
    """Whether the checkpoint was made to draw the last steps; it has the second of SDXL's text encoders alone."""
    if weight.is_folder:
        found = read_json(weight.path / "model_index.json")
        return found.get("_class_name") == _REFINER_CLASS and found.get("text_encoder") in (None, [None, None])
    header = _parts.get_header(weight)
    return header is not None and _REFINER in header.shapes


def _describe_sdxl(weight: WeightFile) -> Model:
    trained, sizes, note = _clip.detect_training(weight), _SIZES, ""
    if _is_refiner(weight):
        trained = dataclasses.replace(trained, tasks=frozenset({Task.IMG2IMG}), features=_REFINER_FEATURES)
        note = _REFINER_NOTE
    if weight.is_folder:
        side = _clip.read_native_side(weight, 1024)
        sizes = _SIZES if side == 1024 else _clip.build_clip_sizes(side)
    elif _TURBO.search(weight.path.stem.lower()):
        sizes = _clip.build_clip_sizes(512)
    sampling = Sampling(steps=25, guidance=6.0, sampler="DPM++ 2M", combinations=trained.combinations)
    return Model(
        id=weight.name,
        title=weight.name,
        family="sdxl",
        tasks=trained.tasks,
        features=trained.features,
        ignores=trained.ignores,
        sampling=_few_steps.set_few_steps(weight, sampling, _few_steps.UNET_TRAININGS),
        sizes=sizes,
        has_vae=_clip.has_vae(weight),
        problem=_find_sdxl_problem(weight),
        note=note,
    )


def _load_sdxl(weight: WeightFile, options: LoadOptions) -> Any:
    if _is_refiner(weight):
        return _load_refiner(weight, options)
    class_name = _clip.detect_training(weight).pick_class(_CLASSES)
    if weight.is_folder:
        return _parts.load_folder(weight, options, class_name, add_watermarker=False)
    config = _parts.CONFIGS / "sdxl"
    prediction = _parts.read_prediction_type(weight) or "epsilon"
    header = _parts.get_header(weight)
    terminal = header is not None and "ztsnr" in header.shapes
    return _parts.load_file(
        weight,
        options,
        class_name,
        config,
        add_watermarker=False,
        tokenizer=_parts.load_clip_tokenizer(),
        tokenizer_2=_parts.load_clip_tokenizer("!"),
        scheduler=_parts.load_clip_scheduler(config, prediction, rescale_betas_zero_snr=terminal),
        **_clip.load_unet(weight, options, config),
        **_clip.make_missing_parts(weight, options, config),
    )


def _load_refiner(weight: WeightFile, options: LoadOptions) -> Any:
    if weight.is_folder:
        return _parts.load_folder(weight, options, _REFINER_CLASS, add_watermarker=False)
    config = _parts.CONFIGS / "sdxl_refiner"
    return _parts.load_file(
        weight,
        options,
        _REFINER_CLASS,
        config,
        add_watermarker=False,
        tokenizer=None,
        text_encoder=None,
        tokenizer_2=_parts.load_clip_tokenizer("!"),
        scheduler=_parts.load_clip_scheduler(config, _parts.read_prediction_type(weight) or "epsilon"),
        **_clip.make_missing_parts(weight, options, config),
    )


def _detect_sdxl_control(header: SafetensorsHeader) -> tuple[WeightKind, str] | None:
    """Kinds of ControlNet that exist for SDXL alone and that diffusers cannot run."""
    for mark, what in (("lllite_", "ControlNet-LLLite"), ("lora_controlnet", "Control-LoRA")):
        if any(name.startswith(mark) for name in header.shapes):
            return WeightKind.CONTROLNET, f"It is a {what}, which diffusers cannot run."
    return None


_UNION_TYPES = {
    "openpose": 0,
    "depth": 1,
    "softedge": 2,
    "scribble": 2,
    "canny": 3,
    "lineart": 3,
    "lineart_anime": 3,
    "mlsd": 3,
    "normal": 4,
    "seg": 5,
    "tile": 6,
    "blur": 6,
    "inpaint": 7,
}
"""Places of the control types in xinsir's union ControlNets, as their card gives them."""


def _detect_sdxl_lora(header: SafetensorsHeader, names: str) -> bool:
    return any(mark in names for mark in ("\nlora_te2_", "\ntext_encoder_2.", "_label_emb_"))


PIPELINE = PipelineSpec(
    family="sdxl",
    title="Stable Diffusion XL",
    pipeline_classes=(*_CLASSES, "StableDiffusionXLPAGPipeline", _REFINER_CLASS),
    image_to_image="StableDiffusionXLImg2ImgPipeline",
    inpaint="StableDiffusionXLInpaintPipeline",
    detect=_detect_sdxl,
    describe=_describe_sdxl,
    load=_load_sdxl,
    arguments=_clip.build_clip_arguments,
    clip=True,
    control=ControlFacts(
        in_unet=True,
        union_types=_UNION_TYPES,
        text_widths=(2048,),
        detect=_detect_sdxl_control,
        adapter_downscale=16,
        has_ip_adapters=True,
    ),
    add_ons=AddOnFacts(detect_lora=_detect_sdxl_lora, embedding_width=1280, embedding_names=("clip_l", "clip_g")),
)

"""Stable Diffusion 3 and 3.5, medium and large."""

from __future__ import annotations

import dataclasses
from typing import Any

from studio.core.family_facts import AddOnFacts, ControlFacts
from studio.core.model import Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind
from studio.pipelines.control.control_files import NEEDS_FOLDER
from studio.pipelines.families import _components, _few_steps, _parts
from studio.pipelines.run.samplers import FLOW_SAMPLERS

_CLASS = "StableDiffusion3Pipeline"
_MEDIUM_3, _MEDIUM, _LARGE = (
    "stabilityai/stable-diffusion-3-medium-diffusers",
    "stabilityai/stable-diffusion-3.5-medium",
    "stabilityai/stable-diffusion-3.5-large",
)
_POSITIONS_3 = 36864  # 192² positions in SD3 medium, 384² in 3.5 medium


def _detect_sd3(header: SafetensorsHeader) -> bool:
    return _parts.has_any(header, "joint_blocks.0.context_block.adaLN_modulation.1.bias")


_REPOS = {"medium": _MEDIUM_3, "medium35": _MEDIUM, "large": _LARGE}


def _find_training(weight: WeightFile) -> str:
    """The name of a single file's training, and of its shipped config."""
    header = _parts.get_header(weight)
    if header is None:
        return ""
    if _parts.has_any(header, "joint_blocks.37.x_block.mlp.fc1.weight"):
        return "large"
    positions = _parts.find_shape(header, "pos_embed")
    return "medium" if len(positions) > 1 and positions[1] == _POSITIONS_3 else "medium35"


def _build_layout(weight: WeightFile) -> _components.Layout:
    return _components.Layout(
        config="sd3",
        training=_find_training(weight),
        parts={
            "text_encoder": _components.CLIP_L_PROJECTED,
            "text_encoder_2": _components.CLIP_G,
            "text_encoder_3": dataclasses.replace(_components.T5, optional=True),
            "vae": _components.SD3_VAE,
        },
        tokenizers={
            "tokenizer": _parts.load_clip_tokenizer,
            "tokenizer_2": lambda: _parts.load_clip_tokenizer("!"),
            "tokenizer_3": _components.load_t5_tokenizer,
        },
    )


def _find_repos(weight: WeightFile) -> tuple[str, ...]:
    return (_REPOS[_find_training(weight)],) if not weight.is_folder else ()


def _describe_sd3(weight: WeightFile) -> Model:
    sampling = Sampling(steps=28, guidance=4.5, sampler="Euler", combinations=dict(FLOW_SAMPLERS))
    return Model(
        id=weight.name,
        title=weight.name,
        family="sd3",
        tasks=_parts.TASKS,
        features=_parts.NON_CLIP_FEATURES | {Feature.SKIP_LAYERS},
        sampling=_few_steps.set_few_steps(weight, sampling, _few_steps.SD3_TRAININGS),
        sizes=_parts.build_sizes(1024, multiple=16, largest=2048),
        ignores=_parts.IGNORES_SYNTAX,
        problem=_components.find_problem(weight, _build_layout(weight), _find_repos(weight)),
    )


def _load_sd3(weight: WeightFile, options: LoadOptions) -> Any:
    if weight.is_folder:
        return _parts.load_folder(weight, options, _CLASS)
    names, layout = (_CLASS, "SD3Transformer2DModel"), _build_layout(weight)
    if _components.list_missing(weight, layout):
        return _parts.load_transformer_file(weight, options, *names, _find_repos(weight))
    return _components.load_assembled(weight, options, layout, names)


def _build_sd3_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    return {"guidance_scale": request.guidance, "max_sequence_length": 256}


def _detect_sd3_control(header: SafetensorsHeader) -> tuple[WeightKind, str] | None:
    names = "\n".join(("", *header.shapes))
    if "\ncontrolnet_blocks." in names and "\npos_embed_input." in names:
        return WeightKind.CONTROLNET, f"It is a single file, {NEEDS_FOLDER}"
    return None


def _detect_sd3_lora(header: SafetensorsHeader, names: str) -> bool:
    if "joint_blocks" in names or "joint_transformer_blocks" in names:
        return True
    joint = "attn.add_q_proj" in names or "attn_add_q_proj" in names
    return joint and not (_parts.has_flux_lora_blocks(names) or _parts.has_qwen_lora_blocks(names))


PIPELINE = PipelineSpec(
    family="sd3",
    title="Stable Diffusion 3",
    pipeline_classes=(_CLASS, "StableDiffusion3PAGPipeline"),
    image_to_image="StableDiffusion3Img2ImgPipeline",
    inpaint="StableDiffusion3InpaintPipeline",
    detect=_detect_sd3,
    describe=_describe_sd3,
    load=_load_sd3,
    arguments=_build_sd3_arguments,
    control=ControlFacts(
        pipelines={Task.TXT2IMG: "StableDiffusion3ControlNetPipeline"},
        network_class="SD3ControlNetModel",
        multi_class="SD3MultiControlNetModel",
        detect=_detect_sd3_control,
    ),
    add_ons=AddOnFacts(detect_lora=_detect_sd3_lora),
)

"""Z-Image and Z-Image Turbo, which differ in training only: turbo is distilled to nine steps without guidance."""

from __future__ import annotations

import re
from typing import Any

from studio.core.family_facts import AddOnFacts, ControlFacts
from studio.core.model import Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind
from studio.pipelines.catalog.model_folders import read_component_config
from studio.pipelines.control.control_files import count_parts
from studio.pipelines.families import _parts
from studio.pipelines.run.samplers import FLOW_SAMPLERS

_CLASS = "ZImagePipeline"
_TURBO, _BASE = "Tongyi-MAI/Z-Image-Turbo", "Tongyi-MAI/Z-Image"
_TURBO_SHIFT = 3.0  # of the scheduler that turbo is published with; the base has 6


def _detect_z_image(header: SafetensorsHeader) -> bool:
    return _parts.has_any(header, "layers.0.adaLN_modulation.0.weight") and _parts.has_any(
        header, "cap_embedder.0.weight"
    )


def _is_turbo(weight: WeightFile) -> bool:
    """By the scheduler of a folder. A single file is turbo when its name says so, or when only turbo's parts are
    here."""
    if weight.is_folder:
        return read_component_config(weight.path, "scheduler").get("shift") == _TURBO_SHIFT
    return "turbo" in weight.name.lower() or _parts.find_companion(weight, (_BASE,)) is None


def _find_repos(weight: WeightFile) -> tuple[str, ...]:
    return (_TURBO, _BASE) if _is_turbo(weight) else (_BASE, _TURBO)


def _describe_z_image(weight: WeightFile) -> Model:
    turbo = _is_turbo(weight)
    lacks = {Feature.VAE, *([Feature.NEGATIVE_PROMPT, Feature.GUIDANCE] if turbo else [])}
    return Model(
        id=weight.name,
        title=weight.name,
        family="z_image",
        tasks=_parts.TASKS,
        features=_parts.NON_CLIP_FEATURES - lacks,
        sampling=Sampling(
            steps=9 if turbo else 50, guidance=0.0 if turbo else 5.0, sampler="Euler", combinations=dict(FLOW_SAMPLERS)
        ),
        sizes=_parts.build_sizes(1024, multiple=16, largest=2048),
        ignores=_parts.IGNORES_SYNTAX,
        problem=_parts.find_transformer_problem(weight, _find_repos(weight)),
    )


def _load_z_image(weight: WeightFile, options: LoadOptions) -> Any:
    if weight.is_folder:
        return _parts.load_folder(weight, options, _CLASS)
    return _parts.load_transformer_file(weight, options, _CLASS, "ZImageTransformer2DModel", _find_repos(weight))


def _build_z_image_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    return {"guidance_scale": request.guidance, "max_sequence_length": 512}


def _detect_z_image_control(header: SafetensorsHeader) -> tuple[WeightKind, str] | None:
    marks = ("control_all_x_embedder.", "control_layers.")
    return (WeightKind.CONTROLNET, "") if any(name.startswith(marks) for name in header.shapes) else None


def _build_control_config(header: SafetensorsHeader) -> dict[str, Any]:
    """The three published generations: 6 control layers; 15 with refiners that repeat the layers; 15 with refiners of
    their own (those have a projection before them)."""
    layers = count_parts(header.shapes, "control_layers")
    every = max(1, 30 // layers)
    refiner = "control_noise_refiner.0.before_proj.weight" in header.shapes
    later = layers > 6
    return {
        "control_layers_places": [place * every for place in range(layers)],
        "control_in_dim": header.shapes["control_all_x_embedder.2-1.weight"][1] // 4,
        "control_refiner_layers_places": [0, 1] if later else [],
        "add_control_noise_refiner": "control_noise_refiner" if refiner else "control_layers" if later else None,
    }


_BORROWED_PARTS = (
    "t_scale",
    "t_embedder",
    "all_x_embedder",
    "cap_embedder",
    "rope_embedder",
    "noise_refiner",
    "context_refiner",
    "x_pad_token",
    "cap_pad_token",
)
"""Parts of the transformer that the pipeline lends its ControlNet."""


def _detect_z_image_lora(header: SafetensorsHeader, names: str) -> bool:
    layers = re.search(r"layers[._]\d+[._](attention|feed_forward)", names) is not None
    return layers and any(3840 in shape for shape in header.shapes.values())


PIPELINE = PipelineSpec(
    family="z_image",
    title="Z-Image",
    pipeline_classes=(_CLASS,),
    image_to_image="ZImageImg2ImgPipeline",
    inpaint="ZImageInpaintPipeline",
    detect=_detect_z_image,
    describe=_describe_z_image,
    load=_load_z_image,
    arguments=_build_z_image_arguments,
    control=ControlFacts(
        pipelines={Task.TXT2IMG: "ZImageControlNetPipeline"},
        network_class="ZImageControlNetModel",
        max_units=1,
        has_range=False,
        borrowed_parts=_BORROWED_PARTS,
        detect=_detect_z_image_control,
        build_config=_build_control_config,
        is_original=True,
    ),
    add_ons=AddOnFacts(detect_lora=_detect_z_image_lora),
)

"""Stable Diffusion 1.x and everything built like it: finetunes, and the small model that ships."""

from __future__ import annotations

from typing import Any

from studio.core.family_facts import AddOnFacts, ControlFacts
from studio.core.model import ENLARGEMENT, Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.catalog.model_folders import find_model_upscaler, read_vocabulary
from studio.pipelines.families import _clip, _few_steps, _parts

_EMBEDDED = "embedded"


def _detect_sd15(header: SafetensorsHeader) -> bool:
    return _clip.read_text_width(header) not in (0, 1024)


def _describe_sd15(weight: WeightFile) -> Model:
    trained = _clip.detect_training(weight)
    embedded = weight.name == _EMBEDDED
    side = _clip.read_native_side(weight, 512) if weight.is_folder else 512
    enlarges = Task.TXT2IMG in trained.tasks and find_model_upscaler(weight.path) is not None
    composes = Task.TXT2IMG in trained.tasks and read_vocabulary(weight.path) is not None
    drawn = f"{side} px, enlarged to {side * ENLARGEMENT}" if enlarges else f"{side} px"
    sampling = Sampling(
        steps=20,
        guidance=3.0 if embedded else 7.0,
        sampler="DPM++ 2M",
        enlarge=enlarges,
        compose=composes,
        scenery=composes,
        combinations=trained.combinations,
    )
    return Model(
        id=weight.name,
        title="Easel embedded (small, offline)" if embedded else weight.name,
        family="sd15",
        tasks=trained.tasks,
        features=trained.features
        | ({Feature.ENLARGE} if enlarges else set())
        | ({Feature.COMPOSE} if composes else set()),
        ignores=trained.ignores,
        sampling=_few_steps.set_few_steps(weight, sampling, _few_steps.UNET_TRAININGS),
        sizes=_clip.build_clip_sizes(side),
        has_vae=_clip.has_vae(weight),
        problem=_clip.find_problem(weight),
        note=f"A demonstration model for everyday objects, {drawn}." if embedded else "",
    )


def _load_sd15(weight: WeightFile, options: LoadOptions) -> Any:
    prediction = _parts.read_prediction_type(weight) or "epsilon"
    return _clip.load_clip_pipeline(weight, options, "sd15", prediction, "<|endoftext|>")


PIPELINE = PipelineSpec(
    family="sd15",
    title="Stable Diffusion 1.5",
    pipeline_classes=_clip.PIPELINE_CLASSES,
    image_to_image="StableDiffusionImg2ImgPipeline",
    inpaint="StableDiffusionInpaintPipeline",
    detect=_detect_sd15,
    describe=_describe_sd15,
    load=_load_sd15,
    arguments=_clip.build_clip_arguments,
    clip=True,
    control=ControlFacts(
        in_unet=True, text_widths=(256, 768), has_other_widths=True, adapter_downscale=8, has_ip_adapters=True
    ),  # 256 is the embedded model's width
    add_ons=AddOnFacts(embedding_width=768),
)

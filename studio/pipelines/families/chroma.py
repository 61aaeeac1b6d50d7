"""Chroma: FLUX.1 schnell with less of a modulation and real guidance, by a community."""

from __future__ import annotations

from typing import Any

from studio.core.model import Model
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.families import _parts, _plain

_CLASS = "ChromaPipeline"
_FAMILY = _plain.PlainFamily(
    family="chroma",
    steps=35,
    guidance=5.0,
    sizes=_parts.build_sizes(1024, multiple=32, largest=2048),
    tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}),  # diffusers' inpainting asks its config for what it lacks
    has_hires=True,
    transformer="ChromaTransformer2DModel",
    repos=("lodestones/Chroma1-HD",),
)


def _detect_chroma(header: SafetensorsHeader) -> bool:
    return _parts.has_any(header, "distilled_guidance_layer.in_proj.bias")


def _describe_chroma(weight: WeightFile) -> Model:
    return _FAMILY.describe(weight)


def _load_chroma(weight: WeightFile, options: LoadOptions) -> Any:
    return _FAMILY.load(weight, options, _CLASS)


PIPELINE = PipelineSpec(
    family="chroma",
    title="Chroma",
    pipeline_classes=(_CLASS,),
    image_to_image="ChromaImg2ImgPipeline",
    detect=_detect_chroma,
    describe=_describe_chroma,
    load=_load_chroma,
    arguments=_plain.build_guidance,
)

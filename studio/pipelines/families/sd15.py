"""Stable Diffusion 1.x and everything built like it: finetunes, and the small model that ships."""

from __future__ import annotations

from typing import Any

from studio.core.model import Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.weights import Header, WeightFile
from studio.pipelines.families import _clip, _parts
from studio.pipelines.run.samplers import DIFFUSION

_EMBEDDED = "embedded"


def _detect(header: Header) -> bool:
    return _clip.text_width(header) not in (0, 1024)


def _describe(weight: WeightFile) -> Model:
    trained = _clip.trained(weight)
    embedded = weight.name == _EMBEDDED
    side = _clip.native_side(weight, 512) if weight.is_folder else 512
    return Model(
        id=weight.name,
        title="Easel embedded (small, offline)" if embedded else weight.name,
        family="sd15",
        tasks=trained.tasks,
        features=trained.features,
        ignores=trained.ignores,
        sampling=Sampling(
            steps=20, guidance=3.0 if embedded else 7.0, sampler="DPM++ 2M", combinations=dict(DIFFUSION)
        ),
        sizes=_clip.sizes(side),
        problem=_clip.problem(weight),
        note=f"A demonstration model: single everyday things, {side} px." if embedded else "",
    )


def _load(weight: WeightFile, options: LoadOptions) -> Any:
    prediction = _parts.stated_prediction(weight) or "epsilon"
    return _clip.load(weight, options, "sd15", prediction, "<|endoftext|>")


PIPELINE = PipelineSpec(
    family="sd15",
    title="Stable Diffusion 1.5",
    pipeline_classes=_clip.CLASSES,
    image_to_image="StableDiffusionImg2ImgPipeline",
    inpaint="StableDiffusionInpaintPipeline",
    detect=_detect,
    describe=_describe,
    load=_load,
    arguments=_clip.arguments,
    clip=True,
)

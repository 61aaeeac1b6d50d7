"""SANA Sprint: SANA distilled to one to four steps, with its guidance as an input."""

from __future__ import annotations

from typing import Any

from studio.core.model import Model
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import WeightFile
from studio.pipelines.families import _parts, _plain

_CLASS = "SanaSprintPipeline"
_FAMILY = _plain.PlainFamily(
    family="sana_sprint",
    steps=2,
    guidance=4.5,
    sizes=_parts.build_sizes(1024, multiple=32, largest=2048),
    tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}),
    has_negative=False,
)
_MIDDLE = 1.3  # where the second of two steps begins, in radians; any other number of steps is even


def _describe_sana_sprint(weight: WeightFile) -> Model:
    return _FAMILY.describe(weight)


def _load_sana_sprint(weight: WeightFile, options: LoadOptions) -> Any:
    return _FAMILY.load(weight, options, _CLASS)


def _build_sana_sprint_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    steps = request.steps or model.sampling.steps
    return {
        "guidance_scale": request.guidance,
        "intermediate_timesteps": _MIDDLE if steps == 2 else None,
        "use_resolution_binning": False,
    }


PIPELINE = PipelineSpec(
    family="sana_sprint",
    title="SANA Sprint",
    pipeline_classes=(_CLASS,),
    image_to_image="SanaSprintImg2ImgPipeline",
    detect=_plain.detect_nothing,
    describe=_describe_sana_sprint,
    load=_load_sana_sprint,
    arguments=_build_sana_sprint_arguments,
)

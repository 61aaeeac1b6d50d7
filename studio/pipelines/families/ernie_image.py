"""ERNIE-Image, and its training that is distilled to eight steps."""

from __future__ import annotations

from typing import Any

from studio.core.model import Model
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.weights import WeightFile
from studio.pipelines.families import _parts, _plain

_CLASS = "ErnieImagePipeline"
_FAMILY = _plain.PlainFamily(
    family="ernie_image", steps=50, guidance=4.0, sizes=_parts.build_sizes(1024, multiple=16, largest=2048)
)
_TURBO_STEPS = 8


def _describe_ernie_image(weight: WeightFile) -> Model:
    if "turbo" in weight.name.lower():
        return _FAMILY.describe(weight, steps=_TURBO_STEPS, guidance=1.0)
    return _FAMILY.describe(weight)


def _load_ernie_image(weight: WeightFile, options: LoadOptions) -> Any:
    return _FAMILY.load(weight, options, _CLASS)


def _build_ernie_image_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    """The prompt is drawn as it is written: its language model would write another one each time, which no recipe
    holds."""
    return {"guidance_scale": request.guidance, "use_pe": False}


PIPELINE = PipelineSpec(
    family="ernie_image",
    title="ERNIE-Image",
    pipeline_classes=(_CLASS,),
    image_to_image="",
    detect=_plain.detect_nothing,
    describe=_describe_ernie_image,
    load=_load_ernie_image,
    arguments=_build_ernie_image_arguments,
)

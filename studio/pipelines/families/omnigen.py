"""OmniGen: one transformer that reads the prompt itself."""

from __future__ import annotations

from typing import Any

from studio.core.model import Model
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.weights import WeightFile
from studio.pipelines.families import _parts, _plain

_CLASS = "OmniGenPipeline"
_FAMILY = _plain.PlainFamily(
    family="omnigen",
    steps=50,
    guidance=2.5,
    sizes=_parts.build_sizes(1024, multiple=16, largest=2048),
    has_negative=False,
)


def _describe_omnigen(weight: WeightFile) -> Model:
    return _FAMILY.describe(weight)


def _load_omnigen(weight: WeightFile, options: LoadOptions) -> Any:
    return _FAMILY.load(weight, options, _CLASS)


PIPELINE = PipelineSpec(
    family="omnigen",
    title="OmniGen",
    pipeline_classes=(_CLASS,),
    image_to_image="",
    detect=_plain.detect_nothing,
    describe=_describe_omnigen,
    load=_load_omnigen,
    arguments=_plain.build_guidance,
)

"""LongCat-Image. Its pipeline knows no callback, so that steps are reported by its scheduler."""

from __future__ import annotations

import functools
from typing import Any

from studio.core.model import Model
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.weights import WeightFile
from studio.pipelines.families import _parts, _plain

_CLASS = "LongCatImagePipeline"
_FAMILY = _plain.PlainFamily(
    family="longcat_image", steps=50, guidance=4.5, sizes=_parts.build_sizes(1024, multiple=16, largest=2048)
)


@functools.cache
def _get_reporting_class() -> Any:
    """diffusers' class, whose call takes `callback_on_step_end` as others do."""
    import diffusers

    base: Any = getattr(diffusers, _CLASS)

    class LongCatImagePipeline(base):
        def __call__(self, *args: Any, callback_on_step_end: Any = None, **kwargs: Any) -> Any:
            stop = _plain.report_steps(self, callback_on_step_end)
            try:
                return super().__call__(*args, **kwargs)
            finally:
                stop()

    _plain.add_call_parameters(LongCatImagePipeline.__call__, base.__call__, "callback_on_step_end")
    return LongCatImagePipeline


def _describe_longcat(weight: WeightFile) -> Model:
    return _FAMILY.describe(weight)


def _load_longcat(weight: WeightFile, options: LoadOptions) -> Any:
    return _parts.load_class(weight, options, _get_reporting_class())


def _build_longcat_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    """The prompt is drawn as it is written; its language model would write another one, which no recipe holds."""
    return {"guidance_scale": request.guidance, "enable_prompt_rewrite": False}


PIPELINE = PipelineSpec(
    family="longcat_image",
    title="LongCat-Image",
    pipeline_classes=(_CLASS,),
    image_to_image="",
    detect=_plain.detect_nothing,
    describe=_describe_longcat,
    load=_load_longcat,
    arguments=_build_longcat_arguments,
)

"""HunyuanImage 2.1, and its distilled training, which takes its guidance as an input.

Guidance is a part of the pipeline there and no argument of its call; here it is one, as everywhere.
"""

from __future__ import annotations

import functools
from typing import Any

from studio.core.model import Model
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.weights import WeightFile
from studio.pipelines.catalog.model_folders import read_component_config
from studio.pipelines.families import _parts, _plain

_CLASS = "HunyuanImagePipeline"
_FAMILY = _plain.PlainFamily(
    family="hunyuan_image", steps=50, guidance=3.5, sizes=_parts.build_sizes(2048, multiple=64, largest=4096)
)
_DISTILLED_STEPS, _DISTILLED_GUIDANCE = 8, 3.25
_GUIDERS = ("guider", "ocr_guider")


@functools.cache
def _get_guided_class() -> Any:
    """diffusers' class, whose call takes `guidance_scale`."""
    import diffusers

    base: Any = getattr(diffusers, _CLASS)

    class HunyuanImagePipeline(base):
        def __call__(self, *args: Any, guidance_scale: float | None = None, **kwargs: Any) -> Any:
            if guidance_scale is None:
                return super().__call__(*args, **kwargs)
            before = {name: guider for name in _GUIDERS if (guider := getattr(self, name, None)) is not None}
            for name, guider in before.items():
                setattr(self, name, guider.new(guidance_scale=guidance_scale))
            try:
                return super().__call__(*args, **{"distilled_guidance_scale": guidance_scale, **kwargs})
            finally:
                for name, guider in before.items():
                    setattr(self, name, guider)

    _plain.add_call_parameters(HunyuanImagePipeline.__call__, base.__call__, "guidance_scale")
    return HunyuanImagePipeline


def _describe_hunyuan_image(weight: WeightFile) -> Model:
    if read_component_config(weight.path, "transformer").get("guidance_embeds"):
        return _FAMILY.describe(weight, steps=_DISTILLED_STEPS, guidance=_DISTILLED_GUIDANCE)
    return _FAMILY.describe(weight)


def _load_hunyuan_image(weight: WeightFile, options: LoadOptions) -> Any:
    return _parts.load_class(weight, options, _get_guided_class())


PIPELINE = PipelineSpec(
    family="hunyuan_image",
    title="HunyuanImage",
    pipeline_classes=(_CLASS,),
    image_to_image="",
    detect=_plain.detect_nothing,
    describe=_describe_hunyuan_image,
    load=_load_hunyuan_image,
    arguments=_plain.build_guidance,
)

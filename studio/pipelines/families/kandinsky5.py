"""Kandinsky 5 for images. Its pipeline has its images under another name than all others."""

from __future__ import annotations

import functools
from typing import Any

from studio.core.model import Model
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.weights import WeightFile
from studio.pipelines.families import _parts, _plain

_CLASS = "Kandinsky5T2IPipeline"
_FAMILY = _plain.PlainFamily(
    family="kandinsky5",
    steps=50,
    guidance=3.5,
    sizes=_plain.build_fixed_sizes(
        (1024, 1024), (896, 1152), (1152, 896), (768, 1280), (1280, 768), (640, 1408), (1408, 640)
    ),
)


@functools.cache
def _get_class() -> Any:
    """diffusers' class, whose answer has `images`."""
    import diffusers
    from diffusers.pipelines.pipeline_utils import ImagePipelineOutput

    base: Any = getattr(diffusers, _CLASS)

    class Kandinsky5T2IPipeline(base):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return ImagePipelineOutput(images=super().__call__(*args, **kwargs).image)

    _plain.add_call_parameters(Kandinsky5T2IPipeline.__call__, base.__call__)
    return Kandinsky5T2IPipeline


def _describe_kandinsky5(weight: WeightFile) -> Model:
    return _FAMILY.describe(weight)


def _load_kandinsky5(weight: WeightFile, options: LoadOptions) -> Any:
    return _parts.load_class(weight, options, _get_class())


PIPELINE = PipelineSpec(
    family="kandinsky5",
    title="Kandinsky 5",
    pipeline_classes=(_CLASS,),
    image_to_image="",
    detect=_plain.detect_nothing,
    describe=_describe_kandinsky5,
    load=_load_kandinsky5,
    arguments=_plain.build_guidance,
)

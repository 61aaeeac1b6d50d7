"""Bria 3.2, and Bria FIBO, which was trained on descriptions in JSON."""

from __future__ import annotations

import functools
from typing import Any

from studio.core.model import Model
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.weights import WeightFile
from studio.pipelines.families import _parts, _plain

_BRIA, _FIBO = "BriaPipeline", "BriaFiboPipeline"
_FAMILY = _plain.PlainFamily(
    family="bria", steps=30, guidance=5.0, sizes=_parts.build_sizes(1024, multiple=32, largest=2048)
)
_FIBO_FAMILY = _plain.PlainFamily(
    family="bria",
    steps=50,
    guidance=5.0,
    sizes=_parts.build_sizes(1024, multiple=32, largest=2048),
    note="It was trained on long descriptions in JSON; short prompts give less than it can.",
)


@functools.cache
def _get_fibo_class() -> Any:
    """diffusers' class, whose latents are unpacked as its call packs them when it is not told otherwise."""
    import diffusers

    base: Any = getattr(diffusers, _FIBO)

    class BriaFiboPipeline(base):
        _unpack_latents = staticmethod(base._unpack_latents_no_patch)

    return BriaFiboPipeline


def _describe_bria(weight: WeightFile) -> Model:
    return (_FIBO_FAMILY if _parts.read_class_name(weight) == _FIBO else _FAMILY).describe(weight)


def _load_bria(weight: WeightFile, options: LoadOptions) -> Any:
    if _parts.read_class_name(weight) == _FIBO:
        return _parts.load_class(weight, options, _get_fibo_class())
    return _FAMILY.load(weight, options, _BRIA)


PIPELINE = PipelineSpec(
    family="bria",
    title="Bria",
    pipeline_classes=(_BRIA, _FIBO),
    image_to_image="",
    detect=_plain.detect_nothing,
    describe=_describe_bria,
    load=_load_bria,
    arguments=_plain.build_guidance,
)

"""HiDream-I1: full, and the dev and fast trainings that are distilled to fewer steps without guidance."""

from __future__ import annotations

from typing import Any

from studio.core.model import Model
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.families import _parts, _plain

_CLASS = "HiDreamImagePipeline"
_FULL, _DEV, _FAST = "HiDream-ai/HiDream-I1-Full", "HiDream-ai/HiDream-I1-Dev", "HiDream-ai/HiDream-I1-Fast"
_MARK = "double_stream_blocks.0.block.adaLN_modulation.1.bias"
_DISTILLED = {"fast": 16, "dev": 28}
"""Steps by the word in the name; guidance is 0."""
_SIZES = _plain.build_fixed_sizes(
    (1024, 1024), (768, 1360), (1360, 768), (880, 1168), (1168, 880), (832, 1248), (1248, 832)
)
"""Those of its makers. The pipeline brings any other to the area of a megapixel."""


def _detect_hidream(header: SafetensorsHeader) -> bool:
    return _parts.has_any(header, _MARK)


def _find_training(weight: WeightFile) -> str:
    name = weight.name.lower()
    return next((word for word in _DISTILLED if word in name), "")


def _build_family(weight: WeightFile) -> _plain.PlainFamily:
    repos = {"fast": (_FAST, _DEV, _FULL), "dev": (_DEV, _FAST, _FULL), "": (_FULL, _DEV, _FAST)}
    return _plain.PlainFamily(
        family="hidream",
        steps=50,
        guidance=5.0,
        sizes=_SIZES,
        transformer="HiDreamImageTransformer2DModel",
        repos=repos[_find_training(weight)],
    )


def _describe_hidream(weight: WeightFile) -> Model:
    training = _find_training(weight)
    family = _build_family(weight)
    return family.describe(weight, steps=_DISTILLED[training], guidance=0.0) if training else family.describe(weight)


def _load_hidream(weight: WeightFile, options: LoadOptions) -> Any:
    return _build_family(weight).load(weight, options, _CLASS)


PIPELINE = PipelineSpec(
    family="hidream",
    title="HiDream",
    pipeline_classes=(_CLASS,),
    image_to_image="",
    detect=_detect_hidream,
    describe=_describe_hidream,
    load=_load_hidream,
    arguments=_plain.build_guidance,
)

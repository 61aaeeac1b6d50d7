"""PixArt-alpha and PixArt-Sigma, and the consistency models distilled from them."""

from __future__ import annotations

from typing import Any

from studio.core.model import Model, Sizes
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.weights import WeightFile
from studio.pipelines.catalog.model_folders import read_component_config
from studio.pipelines.families import _parts, _plain

_ALPHA, _SIGMA, _SIGMA_PAG = "PixArtAlphaPipeline", "PixArtSigmaPipeline", "PixArtSigmaPAGPipeline"
_LCM_STEPS = 4


def _read_side(weight: WeightFile) -> int:
    """The side in px that it was trained at: 256, 512, 1024 or 2048."""
    sample = read_component_config(weight.path, "transformer").get("sample_size")
    return sample * 8 if isinstance(sample, int) else 1024


def _build_sizes(side: int) -> Sizes:
    return _parts.build_sizes(side, multiple=8, largest=2 * side)


def _describe_pixart(weight: WeightFile) -> Model:
    family = _plain.PlainFamily(
        family="pixart", steps=20, guidance=4.5, sizes=_build_sizes(_read_side(weight)), max_batch=8
    )
    if read_component_config(weight.path, "scheduler").get("_class_name") == "LCMScheduler":
        return family.describe(weight, steps=_LCM_STEPS, guidance=0.0)
    return family.describe(weight)


def _load_pixart(weight: WeightFile, options: LoadOptions) -> Any:
    return _parts.load_folder(weight, options, _parts.read_class_name(weight))


def _build_pixart_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    """Prompts are drawn as they are written, at the size that was asked for: cleaning them needs packages of its own,
    and sizes are not binned at 256 and 2048 px."""
    return {"guidance_scale": request.guidance, "clean_caption": False, "use_resolution_binning": False}


PIPELINE = PipelineSpec(
    family="pixart",
    title="PixArt",
    pipeline_classes=(_SIGMA, _ALPHA, _SIGMA_PAG),
    image_to_image="",
    detect=_plain.detect_nothing,
    describe=_describe_pixart,
    load=_load_pixart,
    arguments=_build_pixart_arguments,
)

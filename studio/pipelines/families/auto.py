"""Every other text-to-image pipeline of diffusers, by its class name and with what all of them have in common.

They keep the sampler that their maker chose. A family that deserves more gets a file of its own. The classes are listed
here, and not asked of diffusers, because describing a model must not import it; a test holds the list equal to
diffusers' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from studio.core.errors import ModelBroken
from studio.core.model import Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.catalog.model_folders import read_json
from studio.pipelines.families import _parts, _plain


@dataclass(frozen=True)
class PipelineDefaults:
    """Defaults of a pipeline, and whether it takes a negative prompt. `mark` is a tensor that identifies its
    transformer when it comes as a single file, `transformer` that one's class and `repo` where the other parts are."""

    steps: int
    guidance: float
    negative: bool = True
    mark: str = ""
    transformer: str = ""
    repo: str = ""


PIPELINE_DEFAULTS: Mapping[str, PipelineDefaults] = MappingProxyType(
    {
        "AuraFlowPipeline": PipelineDefaults(
            50,
            3.5,
            mark="double_layers.0.attn.w2q.weight",
            transformer="AuraFlowTransformer2DModel",
            repo="fal/AuraFlow-v0.3",
        ),
        "CogView3PlusPipeline": PipelineDefaults(50, 5.0),
        "CogView4Pipeline": PipelineDefaults(50, 5.0),
        "GlmImagePipeline": PipelineDefaults(50, 1.5, negative=False),
        "HunyuanDiTPipeline": PipelineDefaults(50, 5.0),
        "HunyuanDiTPAGPipeline": PipelineDefaults(50, 5.0),
        "Ideogram4Pipeline": PipelineDefaults(48, 7.0, negative=False),
        "KolorsPipeline": PipelineDefaults(50, 5.0),
        "KolorsPAGPipeline": PipelineDefaults(50, 5.0),
        "Krea2Pipeline": PipelineDefaults(28, 4.5),
        "LatentConsistencyModelPipeline": PipelineDefaults(4, 8.5, negative=False),
        "LuminaPipeline": PipelineDefaults(30, 4.0),
        "Lumina2Pipeline": PipelineDefaults(
            30,
            4.0,
            mark="layers.0.adaLN_modulation.1.weight",
            transformer="Lumina2Transformer2DModel",
            repo="Alpha-VLLM/Lumina-Image-2.0",
        ),
        "NucleusMoEImagePipeline": PipelineDefaults(50, 4.0),
        "OvisImagePipeline": PipelineDefaults(50, 5.0),
        "PRXPipeline": PipelineDefaults(28, 4.0),
        "SanaPipeline": PipelineDefaults(20, 4.5),
        "SanaPAGPipeline": PipelineDefaults(20, 4.5),
    }
)

_NEEDS_CONTROL = "It needs a control image and does not support txt2img alone."
_NEEDS_IMAGE = "It needs a source image and does not support txt2img."
_MULTI_STAGE = "It works in several stages, which is not supported."

UNSUPPORTED_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "CogView4ControlPipeline",
                "FluxControlNetPipeline",
                "FluxControlPipeline",
                "QwenImageControlNetPipeline",
                "StableDiffusion3ControlNetPipeline",
                "StableDiffusionControlNetPAGPipeline",
                "StableDiffusionControlNetPipeline",
                "StableDiffusionXLControlNetPAGPipeline",
                "StableDiffusionXLControlNetPipeline",
                "StableDiffusionXLControlNetUnionPipeline",
                "ZImageControlNetInpaintPipeline",
                "ZImageControlNetPipeline",
            ),
            _NEEDS_CONTROL,
        ),
        "ZImageOmniPipeline": _NEEDS_IMAGE,
        **dict.fromkeys(
            (
                "IFPipeline",
                "Kandinsky3Pipeline",
                "KandinskyCombinedPipeline",
                "KandinskyV22CombinedPipeline",
                "StableCascadeCombinedPipeline",
                "WuerstchenCombinedPipeline",
            ),
            _MULTI_STAGE,
        ),
        **dict.fromkeys(("HeliosPipeline", "HeliosPyramidPipeline"), "It makes videos."),
    }
)
"""Classes that diffusers calls text-to-image and that cannot be used here, and why."""


def _detect_auto(header: SafetensorsHeader) -> bool:
    return bool(_find_class_in_header(header))


def _find_class_in_header(header: SafetensorsHeader) -> str:
    return next((name for name, row in PIPELINE_DEFAULTS.items() if row.mark and _parts.has_any(header, row.mark)), "")


def _find_class(weight: WeightFile) -> str:
    header = _parts.get_header(weight)
    if header is not None:
        return _find_class_in_header(header)
    try:
        return str(read_json(weight.path / "model_index.json").get("_class_name"))
    except ModelBroken:
        return ""


def _describe_auto(weight: WeightFile) -> Model:
    name = _find_class(weight)
    row = PIPELINE_DEFAULTS.get(name)
    if row is None:
        problem = UNSUPPORTED_CLASSES.get(name, "Its type is unknown.")
        return Model(id=weight.name, title=weight.name, family="auto", problem=problem)
    return Model(
        id=weight.name,
        title=weight.name,
        family="auto",
        features=_plain.FEATURES - (set() if row.negative else {Feature.NEGATIVE_PROMPT}),
        sampling=Sampling(steps=row.steps, guidance=row.guidance, sampler="", combinations={}),
        sizes=_parts.build_sizes(768 if name == "LatentConsistencyModelPipeline" else 1024, multiple=32, largest=2048),
        max_batch=1,
        ignores=_parts.IGNORES_SYNTAX,
        problem=_parts.find_transformer_problem(weight, (row.repo,)),
    )


def _load_auto(weight: WeightFile, options: LoadOptions) -> Any:
    name = _find_class(weight)
    if weight.is_folder:
        return _parts.load_folder(weight, options, name)
    return _parts.load_transformer_file(
        weight, options, name, PIPELINE_DEFAULTS[name].transformer, (PIPELINE_DEFAULTS[name].repo,)
    )


def _build_auto_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    return {"guidance_scale": request.guidance}


PIPELINE = PipelineSpec(
    family="auto",
    title="Other diffusers pipelines",
    pipeline_classes=(*PIPELINE_DEFAULTS, *UNSUPPORTED_CLASSES),
    image_to_image="",
    detect=_detect_auto,
    describe=_describe_auto,
    load=_load_auto,
    arguments=_build_auto_arguments,
)

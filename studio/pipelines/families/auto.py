"""Every other text-to-image pipeline of diffusers, by its class name and with what all of them have in common.

They keep the sampler that their maker chose. A family that deserves more gets a file of its own. The classes are listed here, and not asked
of diffusers, because describing a model must not import it; a test holds the list equal to diffusers' own.
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
from studio.core.weights import Header, WeightFile
from studio.pipelines.catalog.model_folders import read_json
from studio.pipelines.families import _parts


@dataclass(frozen=True)
class Row:
    """Defaults of a pipeline, and whether it takes a negative prompt. `mark` is a tensor that tells its transformer
    when it comes as a single file, `transformer` that one's class and `repo` where the other parts are."""

    steps: int
    guidance: float
    negative: bool = True
    mark: str = ""
    transformer: str = ""
    repo: str = ""


ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "AuraFlowPipeline": Row(
            50, 3.5, mark="double_layers.0.attn.w2q.weight", transformer="AuraFlowTransformer2DModel",
            repo="fal/AuraFlow-v0.3",
        ),
        "ChromaPipeline": Row(
            35, 5.0, mark="distilled_guidance_layer.in_proj.bias", transformer="ChromaTransformer2DModel",
            repo="lodestones/Chroma1-HD",
        ),
        "CogView3PlusPipeline": Row(50, 5.0),
        "CogView4Pipeline": Row(50, 5.0),
        "GlmImagePipeline": Row(50, 1.5, negative=False),
        "HunyuanDiTPipeline": Row(50, 5.0),
        "HunyuanDiTPAGPipeline": Row(50, 5.0),
        "Ideogram4Pipeline": Row(48, 7.0, negative=False),
        "KolorsPipeline": Row(50, 5.0),
        "KolorsPAGPipeline": Row(50, 5.0),
        "Krea2Pipeline": Row(28, 4.5),
        "LatentConsistencyModelPipeline": Row(4, 8.5, negative=False),
        "LuminaPipeline": Row(30, 4.0),
        "Lumina2Pipeline": Row(
            30, 4.0, mark="layers.0.adaLN_modulation.1.weight", transformer="Lumina2Transformer2DModel",
            repo="Alpha-VLLM/Lumina-Image-2.0",
        ),
        "NucleusMoEImagePipeline": Row(50, 4.0),
        "OvisImagePipeline": Row(50, 5.0),
        "PRXPipeline": Row(28, 4.0),
        "SanaPipeline": Row(20, 4.5),
        "SanaPAGPipeline": Row(20, 4.5),
    }
)  # fmt: skip

_CONTROL = "It needs a control picture and cannot draw from text alone."
_PICTURE = "It needs a picture to work on and cannot draw from text alone."
_STAGES = "It works in several stages with parts of their own, which the studio does not run."
_STEPS = "Its pipeline cannot be watched or stopped between steps, so the studio does not run it."

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "CogView4ControlPipeline", "FluxControlNetPipeline", "FluxControlPipeline", "QwenImageControlNetPipeline",
                "StableDiffusion3ControlNetPipeline", "StableDiffusionControlNetPAGPipeline", "StableDiffusionControlNetPipeline",
                "StableDiffusionXLControlNetPAGPipeline", "StableDiffusionXLControlNetPipeline",
                "StableDiffusionXLControlNetUnionPipeline", "ZImageControlNetInpaintPipeline", "ZImageControlNetPipeline",
            ),
            _CONTROL,
        ),
        "ZImageOmniPipeline": _PICTURE,
        **dict.fromkeys(
            (
                "IFPipeline", "Kandinsky3Pipeline", "KandinskyCombinedPipeline", "KandinskyV22CombinedPipeline",
                "StableCascadeCombinedPipeline", "WuerstchenCombinedPipeline",
            ),
            _STAGES,
        ),
        **dict.fromkeys(("PixArtAlphaPipeline", "PixArtSigmaPipeline", "PixArtSigmaPAGPipeline"), _STEPS),
        **dict.fromkeys(("HeliosPipeline", "HeliosPyramidPipeline"), "It makes videos."),
    }
)  # fmt: skip
"""Classes that diffusers calls text-to-image and that cannot be used here, and why."""


def _detect(header: Header) -> bool:
    return bool(_class_in(header))


def _class_in(header: Header) -> str:
    return next((name for name, row in ROWS.items() if row.mark and _parts.has_any(header, row.mark)), "")


def _class_of(weight: WeightFile) -> str:
    header = _parts.header_of(weight)
    if header is not None:
        return _class_in(header)
    try:
        return str(read_json(weight.path / "model_index.json").get("_class_name"))
    except ModelBroken:
        return ""


def _describe(weight: WeightFile) -> Model:
    name = _class_of(weight)
    row = ROWS.get(name)
    if row is None:
        problem = REFUSED.get(name, "Its kind is not known.")
        return Model(id=weight.name, title=weight.name, family="auto", problem=problem)
    lacks = {Feature.STRENGTH, Feature.SAMPLER, Feature.LORA, Feature.VAE, Feature.HIRES}
    return Model(
        id=weight.name,
        title=weight.name,
        family="auto",
        features=_parts.NO_CLIP - lacks - (set() if row.negative else {Feature.NEGATIVE_PROMPT}),
        sampling=Sampling(steps=row.steps, guidance=row.guidance, sampler="", combinations={}),
        sizes=_parts.sizes(768 if name == "LatentConsistencyModelPipeline" else 1024, multiple=32, largest=2048),
        max_batch=1,
        ignores=_parts.IGNORES_SYNTAX,
        problem=_parts.transformer_problem(weight, (row.repo,)),
    )


def _load(weight: WeightFile, options: LoadOptions) -> Any:
    name = _class_of(weight)
    if weight.is_folder:
        return _parts.load_folder(weight, options, name)
    return _parts.load_transformer_file(weight, options, name, ROWS[name].transformer, (ROWS[name].repo,))


def _arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    return {"guidance_scale": request.guidance}


PIPELINE = PipelineSpec(
    family="auto",
    title="Other diffusers pipelines",
    pipeline_classes=(*ROWS, *REFUSED),
    image_to_image="",
    detect=_detect,
    describe=_describe,
    load=_load,
    arguments=_arguments,
)

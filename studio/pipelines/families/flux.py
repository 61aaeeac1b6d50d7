"""FLUX.1, both of them: schnell is distilled to four steps without guidance, dev takes its guidance as an input."""

from __future__ import annotations

from typing import Any

from studio.core.model import Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.weights import Header, WeightFile
from studio.pipelines.families import _parts
from studio.pipelines.folder import component_config
from studio.pipelines.samplers import FLOW

_SCHNELL, _DEV = "black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-dev"
_PICTURE_CHANNELS = 64  # more come with a mask (fill) or a control picture


def _detect(header: Header) -> bool:
    return _parts.has_any(header, "double_blocks.0.img_attn.norm.key_norm.scale") and not _parts.has_any(
        header, "single_stream_modulation.lin.weight", "distilled_guidance_layer.in_proj.bias"
    )


def _is_dev(weight: WeightFile) -> bool:
    header = _parts.header_of(weight)
    if header is None:
        return bool(component_config(weight.path, "transformer").get("guidance_embeds"))
    return _parts.has_any(header, "guidance_in.in_layer.bias")


def _repos(weight: WeightFile) -> tuple[str, ...]:
    return (_DEV,) if _is_dev(weight) else (_SCHNELL,)


def _problem(weight: WeightFile) -> str:
    header = _parts.header_of(weight)
    width = _parts.shape_of(header, "img_in.weight") if header else ()
    if len(width) == 2 and width[1] > _PICTURE_CHANNELS:
        return "It needs a mask or a control picture and cannot draw from text alone."
    return _parts.transformer_problem(weight, _repos(weight))


def _describe(weight: WeightFile) -> Model:
    dev = _is_dev(weight)
    lacks = {Feature.NEGATIVE_PROMPT} if dev else {Feature.NEGATIVE_PROMPT, Feature.GUIDANCE}
    return Model(
        id=weight.name,
        title=weight.name,
        family="flux",
        features=_parts.NO_CLIP - lacks,
        sampling=Sampling(
            steps=28 if dev else 4, guidance=3.5 if dev else 0.0, sampler="Euler", combinations=dict(FLOW)
        ),
        sizes=_parts.sizes(1024, multiple=16, largest=2048),
        ignores=_parts.IGNORES_SYNTAX,
        problem=_problem(weight),
    )


def _load(weight: WeightFile, options: LoadOptions) -> Any:
    if weight.is_folder:
        return _parts.load_folder(weight, options, "FluxPipeline")
    return _parts.load_transformer_file(weight, options, "FluxPipeline", "FluxTransformer2DModel", _repos(weight))


def _arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    guided = Feature.GUIDANCE in model.features
    return {"guidance_scale": request.guidance, "max_sequence_length": 512 if guided else 256}


PIPELINE = PipelineSpec(
    family="flux",
    title="FLUX.1",
    pipeline_classes=("FluxPipeline",),
    image_to_image="FluxImg2ImgPipeline",
    detect=_detect,
    describe=_describe,
    load=_load,
    arguments=_arguments,
)

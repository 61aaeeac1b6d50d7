"""Qwen-Image and Qwen-Image 2.1."""

from __future__ import annotations

from typing import Any

from studio.core.errors import ModelBroken
from studio.core.model import Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.weights import Header, WeightFile
from studio.pipelines.families import _parts
from studio.pipelines.folder import read_json
from studio.pipelines.samplers import FLOW

_FIRST, _SECOND = "QwenImagePipeline", "QwenImage21Pipeline"
_PARTS = {
    _FIRST: ("QwenImageTransformer2DModel", ("Qwen/Qwen-Image",)),
    _SECOND: ("QwenImage21Transformer2DModel", ("Qwen/Qwen-Image-2.1",)),
}
"""Pipeline class -> transformer class, and the repo with the other parts."""
_SECOND_MARK = "txt_in.text_norm.weight"


def _detect(header: Header) -> bool:
    first = _parts.has_any(header, "transformer_blocks.0.img_mod.1.weight") and _parts.has_any(
        header, "txt_norm.weight"
    )
    return first or _parts.has_any(header, _SECOND_MARK)


def _class_of(weight: WeightFile) -> str:
    header = _parts.header_of(weight)
    if header is not None:
        return _SECOND if _parts.has_any(header, _SECOND_MARK) else _FIRST
    try:
        return str(read_json(weight.path / "model_index.json").get("_class_name"))
    except ModelBroken:
        return _FIRST


def _describe(weight: WeightFile) -> Model:
    name = _class_of(weight)
    # the second takes pictures as references, not as something to start from: there is no second pass
    lacks = {Feature.VAE, *([Feature.HIRES] if name == _SECOND else [])}
    return Model(
        id=weight.name,
        title=weight.name,
        family="qwen_image",
        features=_parts.NO_CLIP - lacks,
        sampling=Sampling(steps=50, guidance=4.0, sampler="Euler", combinations=dict(FLOW)),
        sizes=_parts.sizes(1328, multiple=16, largest=2656),
        max_batch=1,
        ignores=_parts.IGNORES_SYNTAX,
        problem=_parts.transformer_problem(weight, _PARTS[name][1]),
    )


def _load(weight: WeightFile, options: LoadOptions) -> Any:
    name = _class_of(weight)
    if weight.is_folder:
        return _parts.load_folder(weight, options, name)
    return _parts.load_transformer_file(weight, options, name, *_PARTS[name])


def _arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    """The pipeline leaves guidance out when there is no negative prompt, so it always gets one; a real one replaces the
    blank. The blank fits one picture at a time, which is why `max_batch` is 1."""
    return {"true_cfg_scale": request.guidance, "negative_prompt": [" "]}


PIPELINE = PipelineSpec(
    family="qwen_image",
    title="Qwen-Image",
    pipeline_classes=(_FIRST, _SECOND),
    image_to_image="QwenImageImg2ImgPipeline",
    detect=_detect,
    describe=_describe,
    load=_load,
    arguments=_arguments,
)

"""FLUX.2: dev, and klein in its base and distilled trainings."""

from __future__ import annotations

from typing import Any

from studio.core.errors import ModelBroken
from studio.core.family_facts import AddOnFacts
from studio.core.model import Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.catalog.model_folders import read_json
from studio.pipelines.families import _parts
from studio.pipelines.run.samplers import FLOW_SAMPLERS

_DEV, _KLEIN = "Flux2Pipeline", "Flux2KleinPipeline"
_BY_WIDTH = {
    6144: (_DEV, "black-forest-labs/FLUX.2-dev"),
    4096: (_KLEIN, "black-forest-labs/FLUX.2-klein-9B"),
    3072: (_KLEIN, "black-forest-labs/FLUX.2-klein-4B"),
}
"""Width of the transformer -> pipeline class and the repo with the other parts."""
_STREAM = "single_stream_modulation.lin.weight"


def _detect_flux2(header: SafetensorsHeader) -> bool:
    return _parts.has_any(header, _STREAM)


def _find_class_and_repo(weight: WeightFile) -> tuple[str, str]:
    header = _parts.get_header(weight)
    if header is None:
        try:
            return str(read_json(weight.path / "model_index.json").get("_class_name")), ""
        except ModelBroken:
            return _DEV, ""
    return _BY_WIDTH.get(_parts.find_shape(header, _STREAM)[-1], _BY_WIDTH[6144])


def _is_distilled(weight: WeightFile) -> bool:
    if not weight.is_folder:
        return _find_class_and_repo(weight)[0] == _KLEIN and "base" not in weight.name.lower()
    try:
        return bool(read_json(weight.path / "model_index.json").get("is_distilled"))
    except ModelBroken:
        return False


def _describe_flux2(weight: WeightFile) -> Model:
    distilled = _is_distilled(weight)
    # its pipelines take images as references, not as something to start from: there is no second pass
    lacks = {
        Feature.STRENGTH,
        Feature.NEGATIVE_PROMPT,
        Feature.HIRES,
        Feature.VAE,
        *([Feature.GUIDANCE] if distilled else []),
    }
    return Model(
        id=weight.name,
        title=weight.name,
        family="flux2",
        tasks=frozenset({Task.TXT2IMG, Task.EDIT}),
        features=_parts.NON_CLIP_FEATURES - lacks | {Feature.REFERENCE},
        sampling=Sampling(
            steps=4 if distilled else 28,
            guidance=1.0 if distilled else 4.0,
            sampler="Euler",
            combinations=dict(FLOW_SAMPLERS),
        ),
        sizes=_parts.build_sizes(1024, multiple=16, largest=2048),
        ignores=_parts.IGNORES_SYNTAX,
        problem=_parts.find_transformer_problem(weight, (_find_class_and_repo(weight)[1],)),
    )


def _load_flux2(weight: WeightFile, options: LoadOptions) -> Any:
    class_name, repo = _find_class_and_repo(weight)
    if weight.is_folder:
        return _parts.load_folder(weight, options, class_name)
    return _parts.load_transformer_file(weight, options, class_name, "Flux2Transformer2DModel", (repo,))


def _build_flux2_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    return {"guidance_scale": request.guidance, "max_sequence_length": 512}


def _detect_flux2_lora(header: SafetensorsHeader, names: str) -> bool:
    return _parts.has_flux2_lora_widths(header, names)


PIPELINE = PipelineSpec(
    family="flux2",
    title="FLUX.2",
    pipeline_classes=(_DEV, _KLEIN),
    image_to_image="",
    detect=_detect_flux2,
    describe=_describe_flux2,
    load=_load_flux2,
    arguments=_build_flux2_arguments,
    add_ons=AddOnFacts(detect_lora=_detect_flux2_lora, vae_channels=32),
)

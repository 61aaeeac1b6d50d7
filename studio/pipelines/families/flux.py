"""FLUX.1: schnell is distilled to four steps without guidance, dev takes its guidance as an input; Fill draws under masks,
Kontext follows instructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.core.model import Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import Header, WeightFile
from studio.pipelines.catalog.model_folders import component_config
from studio.pipelines.families import _parts
from studio.pipelines.run.samplers import FLOW

_SCHNELL, _DEV = "black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-dev"
_KONTEXT, _FILL = "black-forest-labs/FLUX.1-Kontext-dev", "black-forest-labs/FLUX.1-Fill-dev"
_CHANNELS, _FILL_CHANNELS = 64, 384  # a mask and the picture under it come beside the noise


@dataclass(frozen=True)
class _Kind:
    """One training: its pipeline, the repos of a transformer file's other parts, and what a model says of it."""

    class_name: str
    repos: tuple[str, ...]
    tasks: frozenset[Task]
    features: frozenset[Feature]
    steps: int = 28
    guidance: float = 3.5


_DEV_KIND = _Kind("FluxPipeline", (_DEV,), _parts.TASKS, _parts.NO_CLIP)
_SCHNELL_KIND = _Kind("FluxPipeline", (_SCHNELL,), _parts.TASKS, _parts.NO_CLIP - {Feature.GUIDANCE}, 4, 0.0)
_FILL_KIND = _Kind("FluxFillPipeline", (_FILL, _DEV), _parts.MASKED, _parts.NO_CLIP - {Feature.HIRES}, 28, 30.0)
_KONTEXT_KIND = _Kind("FluxKontextPipeline", (_KONTEXT, _DEV), frozenset({Task.EDIT}), _parts.ONLY_INSTRUCTED, 28, 2.5)


def _detect(header: Header) -> bool:
    return _parts.has_any(header, "double_blocks.0.img_attn.norm.key_norm.scale") and not _parts.has_any(
        header, "single_stream_modulation.lin.weight", "distilled_guidance_layer.in_proj.bias"
    )


def _is_dev(weight: WeightFile) -> bool:
    header = _parts.header_of(weight)
    if header is None:
        return bool(component_config(weight.path, "transformer").get("guidance_embeds"))
    return _parts.has_any(header, "guidance_in.in_layer.bias")


def _channels(weight: WeightFile) -> int:
    """Width of the transformer's input in a single file; 0 when unknown."""
    header = _parts.header_of(weight)
    shape = _parts.shape_of(header, "img_in.weight") if header else ()
    return shape[1] if len(shape) == 2 else 0


def _kind(weight: WeightFile) -> _Kind:
    """Kontext's file has the same tensors as dev's: only its name tells it."""
    if weight.is_folder:
        name = _parts.class_in(weight)
        made = next((kind for kind in (_FILL_KIND, _KONTEXT_KIND) if kind.class_name == name), None)
    elif _channels(weight) == _FILL_CHANNELS:
        made = _FILL_KIND
    else:
        made = _KONTEXT_KIND if "kontext" in weight.path.stem.lower() else None
    return made or (_DEV_KIND if _is_dev(weight) else _SCHNELL_KIND)


def _problem(weight: WeightFile) -> str:
    if _channels(weight) not in (0, _CHANNELS, _FILL_CHANNELS):
        return "It needs a control picture in a way that the studio does not run."
    return _parts.transformer_problem(weight, _kind(weight).repos)


def _describe(weight: WeightFile) -> Model:
    kind = _kind(weight)
    return Model(
        id=weight.name,
        title=weight.name,
        family="flux",
        tasks=kind.tasks,
        features=kind.features - {Feature.NEGATIVE_PROMPT},
        sampling=Sampling(steps=kind.steps, guidance=kind.guidance, sampler="Euler", combinations=dict(FLOW)),
        sizes=_parts.sizes(1024, multiple=16, largest=2048),
        ignores=_parts.IGNORES_SYNTAX,
        problem=_problem(weight),
    )


def _load(weight: WeightFile, options: LoadOptions) -> Any:
    kind = _kind(weight)
    if weight.is_folder:
        return _parts.load_folder(weight, options, kind.class_name)
    return _parts.load_transformer_file(weight, options, kind.class_name, "FluxTransformer2DModel", kind.repos)


def _arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    guided = Feature.GUIDANCE in model.features
    return {"guidance_scale": request.guidance, "max_sequence_length": 512 if guided else 256}


PIPELINE = PipelineSpec(
    family="flux",
    title="FLUX.1",
    pipeline_classes=("FluxPipeline", "FluxFillPipeline", "FluxKontextPipeline"),
    image_to_image="FluxImg2ImgPipeline",
    inpaint="FluxInpaintPipeline",
    detect=_detect,
    describe=_describe,
    load=_load,
    arguments=_arguments,
)

"""FLUX.1: schnell is distilled to four steps without guidance, dev takes its guidance as an input; Fill draws under
masks, Kontext follows instructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.core.family_facts import AddOnFacts, ControlFacts
from studio.core.model import Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind
from studio.pipelines.catalog.model_folders import read_component_config
from studio.pipelines.control.control_files import NEEDS_FOLDER, count_parts
from studio.pipelines.families import _components, _few_steps, _parts
from studio.pipelines.run.samplers import FLOW_SAMPLERS

_SCHNELL, _DEV = "black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-dev"
_KONTEXT, _FILL = "black-forest-labs/FLUX.1-Kontext-dev", "black-forest-labs/FLUX.1-Fill-dev"
_CHANNELS, _FILL_CHANNELS = 64, 384  # a mask and the image under it come beside the noise


@dataclass(frozen=True)
class _FluxVariant:
    """One training: its pipeline, the repos of a transformer file's other parts, and what a model says of it."""

    class_name: str
    repos: tuple[str, ...]
    tasks: frozenset[Task]
    features: frozenset[Feature]
    steps: int = 28
    guidance: float = 3.5


_DEV_VARIANT = _FluxVariant("FluxPipeline", (_DEV,), _parts.TASKS, _parts.NON_CLIP_FEATURES)
_SCHNELL_VARIANT = _FluxVariant(
    "FluxPipeline", (_SCHNELL,), _parts.TASKS, _parts.NON_CLIP_FEATURES - {Feature.GUIDANCE}, 4, 0.0
)
_FILL_VARIANT = _FluxVariant(
    "FluxFillPipeline", (_FILL, _DEV), _parts.MASKED_TASKS, _parts.NON_CLIP_FEATURES - {Feature.HIRES}, 28, 30.0
)
_KONTEXT_VARIANT = _FluxVariant(
    "FluxKontextPipeline", (_KONTEXT, _DEV), frozenset({Task.EDIT}), _parts.INSTRUCT_FEATURES, 28, 2.5
)


def _detect_flux(header: SafetensorsHeader) -> bool:
    return _parts.has_any(header, "double_blocks.0.img_attn.norm.key_norm.scale") and not _parts.has_any(
        header, "single_stream_modulation.lin.weight", "distilled_guidance_layer.in_proj.bias"
    )


def _is_dev(weight: WeightFile) -> bool:
    header = _parts.get_header(weight)
    if header is None:
        return bool(read_component_config(weight.path, "transformer").get("guidance_embeds"))
    return _parts.has_any(header, "guidance_in.in_layer.bias")


def _read_channels(weight: WeightFile) -> int:
    """Width of the transformer's input in a single file; 0 when unknown."""
    header = _parts.get_header(weight)
    shape = _parts.find_shape(header, "img_in.weight") if header else ()
    return shape[1] if len(shape) == 2 else 0


def _detect_variant(weight: WeightFile) -> _FluxVariant:
    """Kontext's file has the same tensors as dev's: only its name differs."""
    if weight.is_folder:
        name = _parts.read_class_name(weight)
        made = next((kind for kind in (_FILL_VARIANT, _KONTEXT_VARIANT) if kind.class_name == name), None)
    elif _read_channels(weight) == _FILL_CHANNELS:
        made = _FILL_VARIANT
    else:
        made = _KONTEXT_VARIANT if "kontext" in weight.path.stem.lower() else None
    return made or (_DEV_VARIANT if _is_dev(weight) else _SCHNELL_VARIANT)


def _find_flux_problem(weight: WeightFile) -> str:
    if _read_channels(weight) not in (0, _CHANNELS, _FILL_CHANNELS):
        return "It needs a control image in a form that is not supported."
    kind = _detect_variant(weight)
    return _components.find_problem(weight, _build_layout(weight, kind), kind.repos)


def _build_layout(weight: WeightFile, kind: _FluxVariant) -> _components.Layout:
    training = "fill" if kind is _FILL_VARIANT else "dev" if _is_dev(weight) else "schnell"
    return _components.Layout(
        config="flux",
        training=training,
        parts={
            "text_encoder": _components.CLIP_L,
            "text_encoder_2": _components.T5,
            "vae": _components.FLUX_VAE,
        },
        tokenizers={"tokenizer": _parts.load_clip_tokenizer, "tokenizer_2": _components.load_t5_tokenizer},
    )


def _describe_flux(weight: WeightFile) -> Model:
    kind = _detect_variant(weight)
    sampling = Sampling(steps=kind.steps, guidance=kind.guidance, sampler="Euler", combinations=dict(FLOW_SAMPLERS))
    trainings = _few_steps.FLUX_TRAININGS if kind is _DEV_VARIANT else {}
    return Model(
        id=weight.name,
        title=weight.name,
        family="flux",
        tasks=kind.tasks,
        features=kind.features - {Feature.NEGATIVE_PROMPT},
        sampling=_few_steps.set_few_steps(weight, sampling, trainings),
        sizes=_parts.build_sizes(1024, multiple=16, largest=2048),
        ignores=_parts.IGNORES_SYNTAX,
        problem=_find_flux_problem(weight),
    )


def _load_flux(weight: WeightFile, options: LoadOptions) -> Any:
    kind = _detect_variant(weight)
    if weight.is_folder:
        return _parts.load_folder(weight, options, kind.class_name)
    names = kind.class_name, "FluxTransformer2DModel"
    layout = _build_layout(weight, kind)
    if _components.list_missing(weight, layout):
        return _parts.load_transformer_file(weight, options, *names, kind.repos)
    return _components.load_assembled(weight, options, layout, names)


def _build_flux_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    guided = Feature.GUIDANCE in model.features
    return {"guidance_scale": request.guidance, "max_sequence_length": 512 if guided else 256}


def _detect_flux_control(header: SafetensorsHeader) -> tuple[WeightKind, str] | None:
    names = "\n".join(("", *header.shapes))
    if "ip_adapter_double_stream_" in names:
        return WeightKind.IP_ADAPTER, "It is an IP-Adapter for FLUX, which is not supported yet."
    if "\ncontrolnet_x_embedder." in names and "img_mod" not in names:
        return WeightKind.CONTROLNET, ""
    if "\ncontrolnet_blocks." in names and "double_blocks" in names and "\npos_embed_input." not in names:
        return WeightKind.CONTROLNET, f"It is a single file, {NEEDS_FOLDER}"
    return None


def _build_control_config(header: SafetensorsHeader) -> dict[str, Any]:
    """diffusers' layout; what is not read here is the same in all FLUX.1 models."""
    shapes = header.shapes
    hint = shapes.get("input_hint_block.conv_in.weight")
    return {
        "in_channels": shapes["x_embedder.weight"][1],
        "num_layers": count_parts(shapes, "transformer_blocks"),
        "num_single_layers": count_parts(shapes, "single_transformer_blocks"),
        "num_mode": (
            shapes["controlnet_mode_embedder.weight"][0] if "controlnet_mode_embedder.weight" in shapes else None
        ),
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in shapes,
        "conditioning_embedding_channels": None if hint is None else shapes["input_hint_block.conv_out.weight"][0],
    }


_UNION_TYPES = {
    "canny": 0,
    "lineart": 0,
    "lineart_anime": 0,
    "softedge": 0,
    "mlsd": 0,
    "tile": 1,
    "depth": 2,
    "blur": 3,
    "openpose": 4,
    "recolor": 5,
    "lq": 6,
}
"""Places of the control types in InstantX' union ControlNets, as their card gives them."""


def _detect_flux_lora(header: SafetensorsHeader, names: str) -> bool:
    return _parts.has_flux_lora_blocks(names) and not _parts.has_flux2_lora_widths(header, names)


PIPELINE = PipelineSpec(
    family="flux",
    title="FLUX.1",
    pipeline_classes=("FluxPipeline", "FluxFillPipeline", "FluxKontextPipeline"),
    image_to_image="FluxImg2ImgPipeline",
    inpaint="FluxInpaintPipeline",
    detect=_detect_flux,
    describe=_describe_flux,
    load=_load_flux,
    arguments=_build_flux_arguments,
    control=ControlFacts(
        pipelines={
            Task.TXT2IMG: "FluxControlNetPipeline",
            Task.IMG2IMG: "FluxControlNetImg2ImgPipeline",
            Task.INPAINT: "FluxControlNetInpaintPipeline",
        },
        network_class="FluxControlNetModel",
        multi_class="FluxMultiControlNetModel",
        union_types=_UNION_TYPES,
        has_union_argument=True,
        detect=_detect_flux_control,
        build_config=_build_control_config,
    ),
    add_ons=AddOnFacts(detect_lora=_detect_flux_lora),
)

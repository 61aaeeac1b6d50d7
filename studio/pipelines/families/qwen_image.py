"""Qwen-Image, Qwen-Image 2.1, and the Qwen-Image-Edit models, which follow instructions."""

from __future__ import annotations

import re
from typing import Any

from studio.core.family_facts import AddOnFacts, ControlFacts
from studio.core.model import Feature, Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind
from studio.pipelines.control.control_files import NEEDS_FOLDER
from studio.pipelines.families import _few_steps, _parts
from studio.pipelines.run.samplers import FLOW_SAMPLERS

_FIRST, _SECOND = "QwenImagePipeline", "QwenImage21Pipeline"
_EDIT, _EDIT_PLUS = "QwenImageEditPipeline", "QwenImageEditPlusPipeline"
_PARTS = {
    _FIRST: ("QwenImageTransformer2DModel", ("Qwen/Qwen-Image",)),
    _SECOND: ("QwenImage21Transformer2DModel", ("Qwen/Qwen-Image-2.1",)),
    _EDIT: ("QwenImageTransformer2DModel", ("Qwen/Qwen-Image-Edit",)),
    _EDIT_PLUS: ("QwenImageTransformer2DModel", ("Qwen/Qwen-Image-Edit-2511", "Qwen/Qwen-Image-Edit-2509")),
}
"""Pipeline class -> transformer class, and the repo with the other parts."""
_TASKS = {_FIRST: _parts.TASKS, _SECOND: frozenset({Task.TXT2IMG, Task.EDIT})}
_MULTI_IMAGE = (_SECOND, _EDIT_PLUS)  # take more images than the one that is edited
_SECOND_MARK = "txt_in.text_norm.weight"


def _detect_qwen_image(header: SafetensorsHeader) -> bool:
    first = _parts.has_any(header, "transformer_blocks.0.img_mod.1.weight") and _parts.has_any(
        header, "txt_norm.weight"
    )
    return first or _parts.has_any(header, _SECOND_MARK)


def _find_class(weight: WeightFile) -> str:
    """A file of the edit models has the same tensors as the first model's: only its name differs."""
    header = _parts.get_header(weight)
    if header is None:
        return _parts.read_class_name(weight) or _FIRST
    if _parts.has_any(header, _SECOND_MARK):
        return _SECOND
    name = weight.path.stem.lower()
    return _FIRST if "edit" not in name else _EDIT_PLUS if re.search(r"25\d\d|plus", name) else _EDIT


def _describe_qwen_image(weight: WeightFile) -> Model:
    name = _find_class(weight)
    # all but the first take images as references, not as something to start from: there is no second pass
    lacks = {Feature.VAE, *(() if name == _FIRST else (Feature.HIRES, Feature.STRENGTH))}
    sampling = Sampling(steps=50, guidance=4.0, sampler="Euler", combinations=dict(FLOW_SAMPLERS))
    return Model(
        id=weight.name,
        title=weight.name,
        family="qwen_image",
        tasks=_TASKS.get(name, frozenset({Task.EDIT})),
        features=_parts.NON_CLIP_FEATURES - lacks | ({Feature.REFERENCE} if name in _MULTI_IMAGE else set()),
        sampling=_few_steps.set_few_steps(weight, sampling, _few_steps.GUIDED_TRAININGS),
        sizes=_parts.build_sizes(1328, multiple=16, largest=2656),
        max_batch=1,
        ignores=_parts.IGNORES_SYNTAX,
        problem=_parts.find_transformer_problem(weight, _PARTS[name][1]),
    )


def _load_qwen_image(weight: WeightFile, options: LoadOptions) -> Any:
    name = _find_class(weight)
    if weight.is_folder:
        return _parts.load_folder(weight, options, name)
    return _parts.load_transformer_file(weight, options, name, *_PARTS[name])


def _build_qwen_image_arguments(request: GenerationRequest, model: Model) -> dict[str, Any]:
    """The pipeline leaves guidance out when there is no negative prompt, so it always gets one; a real one replaces the
    blank. The blank fits one image at a time, which is why `max_batch` is 1."""
    return {"true_cfg_scale": request.guidance, "negative_prompt": [" "]}


def _detect_qwen_control(header: SafetensorsHeader) -> tuple[WeightKind, str] | None:
    names = "\n".join(("", *header.shapes))
    if "\ncontrolnet_x_embedder." in names and "img_mod" in names:
        return WeightKind.CONTROLNET, f"It is a single file, {NEEDS_FOLDER}"
    return None


def _detect_qwen_lora(header: SafetensorsHeader, names: str) -> bool:
    return _parts.has_qwen_lora_blocks(names) and not _parts.has_flux_lora_blocks(names)


PIPELINE = PipelineSpec(
    family="qwen_image",
    title="Qwen-Image",
    pipeline_classes=(_FIRST, _SECOND, _EDIT, _EDIT_PLUS),
    image_to_image="QwenImageImg2ImgPipeline",
    inpaint="QwenImageInpaintPipeline",
    detect=_detect_qwen_image,
    describe=_describe_qwen_image,
    load=_load_qwen_image,
    arguments=_build_qwen_image_arguments,
    control=ControlFacts(
        pipelines={Task.TXT2IMG: "QwenImageControlNetPipeline"},
        network_class="QwenImageControlNetModel",
        multi_class="QwenImageMultiControlNetModel",
        detect=_detect_qwen_control,
    ),
    add_ons=AddOnFacts(detect_lora=_detect_qwen_lora),
)

"""Stable Diffusion 2.0 and 2.1, in two trainings whose tensors are alike.

The base models draw 512 px and predict the noise; the others draw 768 px and predict v. What the file, or a note beside
it, says wins; next its size in px by the ModelSpec metadata; last "512" in the name, as the published base files have
it. Without any of these it is taken for a 768 px v model, which most finetunes come from.
"""

from __future__ import annotations

import re
from typing import Any

from studio.core.family_facts import AddOnFacts, ControlFacts
from studio.core.model import Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.weights import SafetensorsHeader, WeightFile
from studio.pipelines.families import _clip, _few_steps, _parts

_NOTE = (
    'Treated as a {side} px model that predicts {what}. If images are noise, put a file "{stem}.json" with'
    ' {{"prediction_type": "{other}"}} beside it.'
)


def _detect_sd2(header: SafetensorsHeader) -> bool:
    return _clip.read_text_width(header) == 1024


def _guess_prediction(weight: WeightFile) -> str:
    stated = _parts.read_prediction_type(weight)
    if stated:
        return stated
    header = _parts.get_header(weight)
    resolution = header.metadata.get("modelspec.resolution", "") if header else ""
    base = resolution.startswith("512") or re.search(r"(?<!\d)512(?!\d)|turbo", weight.path.stem.lower())
    return "epsilon" if base else "v_prediction"


def _describe_sd2(weight: WeightFile) -> Model:
    trained = _clip.detect_training(weight)
    if weight.is_folder:
        side, note = _clip.read_native_side(weight, 768), ""
    else:
        v = _guess_prediction(weight) == "v_prediction"
        side = 768 if v else 512
        what, other = ("v", "epsilon") if v else ("the noise", "v_prediction")
        note = _NOTE.format(side=side, what=what, stem=weight.path.stem, other=other)
    sampling = Sampling(steps=20, guidance=7.0, sampler="DPM++ 2M", combinations=trained.combinations)
    return Model(
        id=weight.name,
        title=weight.name,
        family="sd2",
        tasks=trained.tasks,
        features=trained.features,
        ignores=trained.ignores,
        sampling=_few_steps.set_few_steps(weight, sampling, _few_steps.UNET_TRAININGS),
        sizes=_clip.build_clip_sizes(side),
        has_vae=_clip.has_vae(weight),
        problem=_clip.find_problem(weight),
        note=note,
    )


def _load_sd2(weight: WeightFile, options: LoadOptions) -> Any:
    return _clip.load_clip_pipeline(weight, options, "sd2", "" if weight.is_folder else _guess_prediction(weight), "!")


PIPELINE = PipelineSpec(
    family="sd2",
    title="Stable Diffusion 2",
    pipeline_classes=_clip.PIPELINE_CLASSES,
    image_to_image="StableDiffusionImg2ImgPipeline",
    inpaint="StableDiffusionInpaintPipeline",
    detect=_detect_sd2,
    describe=_describe_sd2,
    load=_load_sd2,
    arguments=_clip.build_clip_arguments,
    clip=True,
    control=ControlFacts(in_unet=True, text_widths=(1024,)),
    add_ons=AddOnFacts(embedding_width=1024),
)

"""Stable Diffusion 2.0 and 2.1, in two trainings that the tensors do not tell apart.

The base models draw 512 px and predict the noise; the others draw 768 px and predict v. What the file, or a note beside it,
says wins; next its size in px by the ModelSpec metadata; last "512" in the name, as the published base files have it.
Without any of these it is taken for a 768 px v model, which most finetunes come from.
"""

from __future__ import annotations

import re
from typing import Any

from studio.core.model import Model, Sampling
from studio.core.ports import LoadOptions, PipelineSpec
from studio.core.weights import Header, WeightFile
from studio.pipelines.families import _clip, _parts
from studio.pipelines.run.samplers import DIFFUSION

_NOTE = 'Drawn as a {side} px model that predicts {what}. If pictures are noise, put a file "{stem}.json" with {{"prediction_type": "{other}"}} beside it.'


def _detect(header: Header) -> bool:
    return _clip.text_width(header) == 1024


def _prediction(weight: WeightFile) -> str:
    stated = _parts.stated_prediction(weight)
    if stated:
        return stated
    header = _parts.header_of(weight)
    resolution = header.metadata.get("modelspec.resolution", "") if header else ""
    base = resolution.startswith("512") or re.search(r"(?<!\d)512(?!\d)", weight.path.stem)
    return "epsilon" if base else "v_prediction"


def _describe(weight: WeightFile) -> Model:
    trained = _clip.trained(weight)
    if weight.is_folder:
        side, note = _clip.native_side(weight, 768), ""
    else:
        v = _prediction(weight) == "v_prediction"
        side = 768 if v else 512
        what, other = ("v", "epsilon") if v else ("the noise", "v_prediction")
        note = _NOTE.format(side=side, what=what, stem=weight.path.stem, other=other)
    return Model(
        id=weight.name,
        title=weight.name,
        family="sd2",
        tasks=trained.tasks,
        features=trained.features,
        ignores=trained.ignores,
        sampling=Sampling(steps=20, guidance=7.0, sampler="DPM++ 2M", combinations=dict(DIFFUSION)),
        sizes=_clip.sizes(side),
        problem=_clip.problem(weight),
        note=note,
    )


def _load(weight: WeightFile, options: LoadOptions) -> Any:
    return _clip.load(weight, options, "sd2", "" if weight.is_folder else _prediction(weight), "!")


PIPELINE = PipelineSpec(
    family="sd2",
    title="Stable Diffusion 2",
    pipeline_classes=_clip.CLASSES,
    image_to_image="StableDiffusionImg2ImgPipeline",
    inpaint="StableDiffusionInpaintPipeline",
    detect=_detect,
    describe=_describe,
    load=_load,
    arguments=_clip.arguments,
    clip=True,
)

"""Checkpoints distilled to few steps: known by name and metadata, and sampled as their makers say.

Their tensors are those of the model that they were distilled from, so that nothing but a name tells them apart; a UNet
with an embedding of its guidance is the exception. Names of finetunes are written as one word as often as not
("juggernautXL_v9Rdphoto2Lightning"), so that words are found inside of them, and those that mean something else in
longer words ("hyperrealism") are not.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from studio.core.model import Sampling
from studio.core.weights import WeightFile
from studio.pipelines.catalog.model_folders import read_component_config
from studio.pipelines.families import _parts

_METADATA = ("modelspec.title", "modelspec.description", "modelspec.usage_hint", "ss_output_name")
_WORDS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "dmd": re.compile(r"dmd2?(?![a-z])"),
        "lightning": re.compile(r"lightning"),
        "hyper": re.compile(r"hyper(?![-_ ]?(?:real|photo|detail|focus|net|fine|tile|draw|anime|color|fusion))"),
        "lcm": re.compile(r"(?<![a-z])lcm|lcm(?![a-z])"),
        "tcd": re.compile(r"(?<![a-z])tcd(?![a-z])"),
        "turbo": re.compile(r"turbo(?!charg)"),
        "schnell": re.compile(r"schnell"),
        "flash": re.compile(r"(?<![a-z])flash|flash(?![a-z])"),
    }
)
"""Methods of distillation by the word in the name, the most telling first: a "Turbo LCM" is sampled as LCM."""
_STEPS = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])")
_KEEPS_GUIDANCE = re.compile(r"steps?[-_ ]?cfg")  # ByteDance's name for those that take guidance
_GUIDANCE_EMBEDDING = "time_embedding.cond_proj.weight"


@dataclass(frozen=True)
class FewSteps:
    """How one method is sampled in one family. `steps` are taken when the name gives none; `kept_guidance` is that of
    trainings that keep guidance."""

    steps: int
    guidance: float
    sampler: str
    schedule: str = "Automatic"
    kept_guidance: float = 0.0


_UNET = {
    "lightning": FewSteps(4, 1.0, "Euler", "SGM Uniform"),
    "hyper": FewSteps(8, 1.0, "DDIM", "SGM Uniform", kept_guidance=5.0),
    "lcm": FewSteps(6, 1.5, "LCM"),
    "tcd": FewSteps(4, 1.0, "TCD"),
    "turbo": FewSteps(4, 1.0, "Euler a", "SGM Uniform"),
    "dmd": FewSteps(4, 1.0, "LCM"),
    "flash": FewSteps(4, 1.0, "LCM"),
}
UNET_TRAININGS: Mapping[str, FewSteps] = MappingProxyType(_UNET)
"""Stable Diffusion 1, 2 and XL."""
FLUX_TRAININGS: Mapping[str, FewSteps] = MappingProxyType(
    {
        "schnell": FewSteps(4, 3.5, "Euler"),  # merged into dev, which still takes its guidance
        "hyper": FewSteps(8, 3.5, "Euler"),
        "turbo": FewSteps(8, 3.5, "Euler"),
        "lightning": FewSteps(4, 3.5, "Euler"),
    }
)
"""FLUX.1 dev, whose guidance is an input."""
SD3_TRAININGS: Mapping[str, FewSteps] = MappingProxyType(
    {"turbo": FewSteps(4, 0.0, "Euler"), "hyper": FewSteps(8, 3.0, "Euler"), "flash": FewSteps(4, 0.0, "Euler")}
)
GUIDED_TRAININGS: Mapping[str, FewSteps] = MappingProxyType(
    {
        "lightning": FewSteps(8, 1.0, "Euler"),
        "hyper": FewSteps(8, 1.0, "Euler"),
        "turbo": FewSteps(8, 1.0, "Euler"),
        "flash": FewSteps(8, 1.0, "Euler"),
    }
)
"""Qwen-Image and others with classifier-free guidance over a flow."""


def set_few_steps(weight: WeightFile, usual: Sampling, trainings: Mapping[str, FewSteps]) -> Sampling:
    """`usual`, changed to what the checkpoint was distilled to, where its name or its metadata says that it was. A
    sampler or schedule that `usual` does not offer is left at its own."""
    text = _read_texts(weight)
    method = find_method(text, trainings) or _find_embedded_guidance(weight, trainings)
    if not method:
        return usual
    training = trainings[method]
    said = _STEPS.search(text)
    steps = int(said[1]) if said and 1 <= int(said[1]) <= 16 else training.steps
    guidance = training.guidance
    if training.kept_guidance and _KEEPS_GUIDANCE.search(text):
        guidance = training.kept_guidance
    changed = dataclasses.replace(usual, steps=steps, guidance=guidance)
    offered = usual.combinations.get(training.sampler, ())
    if not offered:
        return changed
    schedule = training.schedule if training.schedule in offered else "Automatic"
    return dataclasses.replace(changed, sampler=training.sampler, schedule=schedule)


def find_method(text: str, trainings: Mapping[str, FewSteps]) -> str:
    """The method of distillation that `text` (in small letters) names, among those of `trainings`; "" for none."""
    return next((name for name, words in _WORDS.items() if name in trainings and words.search(text)), "")


def _read_texts(weight: WeightFile) -> str:
    """The name, and what the file says of itself, in small letters. Words that run together are taken apart where a
    capital begins ("RealLCM")."""
    header = _parts.get_header(weight)
    told = [header.metadata.get(key, "")[:500] for key in _METADATA] if header is not None else []
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", "\n".join((weight.name, *told)))
    return text.lower()


def _find_embedded_guidance(weight: WeightFile, trainings: Mapping[str, FewSteps]) -> str:
    """Only consistency distillation puts the guidance into the UNet's time embedding."""
    if "lcm" not in trainings:
        return ""
    if weight.is_folder:
        return "lcm" if read_component_config(weight.path, "unet").get("time_cond_proj_dim") else ""
    header = _parts.get_header(weight)
    return "lcm" if header is not None and _parts.has_any(header, _GUIDANCE_EMBEDDING) else ""

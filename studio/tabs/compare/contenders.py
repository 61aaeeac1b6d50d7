"""What Compare sets side by side: models, or one model with several LoRAs, seeds or values of a setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.grid import PARAMETERS
from studio.core.model import Feature
from studio.core.number_format import format_number
from studio.core.request import GenerationRequest, LoraUse
from studio.engine.studio import Studio
from studio.tabs.common.form_values import NONE, parse_request, split_values

MAX_CONTENDERS = 6
WITHOUT_LORA = NONE
SEED_PARAMETER = "Seed"
_ELSEWHERE = ("Model", SEED_PARAMETER, "LoRA weight", "Denoising strength")  # have a kind of their own, or no use here
SETTINGS = tuple(name for name in PARAMETERS if name not in _ELSEWHERE and not name.startswith("Hires"))

Values = Mapping[str, Any]


class ContenderKind(StrEnum):
    """What the contenders differ in, as the page names it."""

    MODELS = "Models"
    LORAS = "LoRAs"
    SEEDS = "Seeds"
    SETTINGS = "Settings"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One image of a comparison: its title, and the request that draws it."""

    title: str
    request: GenerationRequest


def build_contenders(studio: Studio, values: Values, seed: object) -> list[Contender]:
    """The contenders that the form's `values` ask for; `seed` is the seed of all that take one.

    Raises:
        InvalidRequest: fewer than two or more than MAX_CONTENDERS of them, or values that cannot be read.
        UnknownModel: a model that is not here.
    """
    kind = ContenderKind(values.get("kind") or ContenderKind.MODELS)
    contenders = _BUILDERS[kind](studio, values, seed)
    if len(contenders) < 2:
        raise InvalidRequest(f"Too few {kind.lower()}.", hint=_HINTS[kind])
    if len(contenders) > MAX_CONTENDERS:
        raise InvalidRequest(
            f"{len(contenders)} contenders are too many.", hint=f"Compare at most {MAX_CONTENDERS} at a time."
        )
    return contenders


def _build_models(studio: Studio, values: Values, seed: object) -> list[Contender]:
    names = [str(name) for name in values.get("models") or ()]
    prompt = _read_prompt(values)
    return [
        Contender(title=studio.engine.model(name).title, request=_build_request(studio, prompt, name, seed))
        for name in names
    ]


def _build_loras(studio: Studio, values: Values, seed: object) -> list[Contender]:
    first = _build_request(studio, _read_prompt(values), str(values.get("model") or ""), seed)
    weight = values.get("weight")
    if not isinstance(weight, int | float):
        raise InvalidRequest("The LoRA weight is empty.", hint="Enter a number, such as 0.8.")
    contenders: list[Contender] = []
    for name in map(str, values.get("loras") or ()):
        if name == WITHOUT_LORA:
            contenders.append(Contender(title="Without a LoRA", request=first))
            continue
        loras = (*first.loras, LoraUse(name=name, weight=weight))
        title = f"{name.rpartition('/')[2]} {format_number(weight)}"
        contenders.append(Contender(title=title, request=first.replace(loras=loras)))
    return contenders


def _build_seeds(studio: Studio, values: Values, seed: object) -> list[Contender]:
    return _vary(studio, {**values, "parameter": SEED_PARAMETER}, seed)


def _vary(studio: Studio, values: Values, seed: object) -> list[Contender]:
    """One model with each of the typed values of a setting, read as those of a grid."""
    first = _build_request(studio, _read_prompt(values), str(values.get("model") or ""), seed)
    parameter = PARAMETERS.get(str(values.get("parameter")))
    if parameter is None:
        raise InvalidRequest("No setting is chosen.", hint="Choose what to compare.")
    found = parameter.read(parameter.name, split_values(str(values.get("typed") or "")))
    return [
        Contender(title=parameter.label(value), request=parameter.apply(first, found, index))
        for index, value in enumerate(found[: MAX_CONTENDERS + 1])
    ]


def _build_request(studio: Studio, prompt: str, name: str, seed: object) -> GenerationRequest:
    model = studio.engine.model(name)
    takes_seed = Feature.SEED in model.features
    wanted = {"model": model.id, "prompt": prompt, "seed": seed if takes_seed else None}
    preferred = {name: getattr(model.sampling, name) for name in ("enlarge", "compose", "scenery")}
    return parse_request({**wanted, **preferred})


def _read_prompt(values: Values) -> str:
    return str(values.get("prompt") or "")


_BUILDERS: Mapping[ContenderKind, Callable[[Studio, Values, object], list[Contender]]] = {
    ContenderKind.MODELS: _build_models,
    ContenderKind.LORAS: _build_loras,
    ContenderKind.SEEDS: _build_seeds,
    ContenderKind.SETTINGS: _vary,
}
_HINTS: Mapping[ContenderKind, str] = {
    ContenderKind.MODELS: "Pick another one.",
    ContenderKind.LORAS: "Pick another one, or None for an image without a LoRA.",
    ContenderKind.SEEDS: "Type several, for example 1-4.",
    ContenderKind.SETTINGS: "Type several values, for example 4, 7, 10.",
}

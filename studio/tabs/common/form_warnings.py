"""What a form is warned of before Generate, each with what would put it right."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.core.errors import InvalidRequest, StudioError
from studio.core.lora_tags import list_tag_names, rename_tags, split_tags
from studio.core.model import GPU_LANE, Feature, Model
from studio.core.task import Task
from studio.core.user import User
from studio.core.weights import WeightFile, WeightKind, is_same_name
from studio.engine.studio import Studio
from studio.tabs.common import model_selection
from studio.tabs.common.form_guide import MAX_QUIET_CHUNKS, FormGuide
from studio.tabs.common.languages import translate_message
from studio.tabs.common.prompt_notes import draw_prompts

LEAST_AREA, MOST_AREA = 0.45, 1.8  # of the areas that a model was trained at; outside, images fall apart or repeat
_EMBEDDING = re.compile(r"\bembedding:([^\s,:()\[\]<>{}|]+)", re.IGNORECASE)  # as ComfyUI's users write it
_PROMPTS = ("prompt", "negative_prompt")
_MAX_NAMES = 20  # of each text that are warned of

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FormWarning:
    """One warning. `remedy` is what the button that puts it right says, "" without one, and `changes` the form's values
    that it sets, by name."""

    text: str
    remedy: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """As the page takes it, in the language of the visitor."""
        text, remedy = translate_message(self.text), translate_message(self.remedy)
        return {"text": text, "remedy": remedy, "changes": dict(self.changes)}


def list_warnings(studio: Studio, guide: FormGuide, values: Values, task: Task, user: User) -> list[FormWarning]:
    """The warnings for the `values` of a form that does `task`; reads names and numbers only, and loads no model."""
    model = model_selection.find_selectable_model(studio, str(values.get("model") or ""), task)
    if model is None:
        return _warn_of_missing_model(studio, str(values.get("model") or ""), task)
    if model.problem:
        return [] if model.locked else _warn_of_broken_model(studio, model, task)
    texts = {name: str(values.get(name) or "") for name in _PROMPTS}
    return [
        *_warn_of_length(studio, guide, model, texts, user),
        *_warn_of_names(studio, model, texts),
        *_warn_of_size(model, values),
    ]


def _warn_of_missing_model(studio: Studio, name: str, task: Task) -> list[FormWarning]:
    return [_offer_other_model(studio, f"The model “{name}” is not installed.", task)] if name else []


def _warn_of_broken_model(studio: Studio, model: Model, task: Task) -> list[FormWarning]:
    return [_offer_other_model(studio, f"{model.title} cannot be used: {model.problem}", task)]


def _offer_other_model(studio: Studio, text: str, task: Task) -> FormWarning:
    usable = [model for model in studio.engine.models(task) if not model.problem]
    other = next((model for model in usable if not model.paid), None)
    if other is None:
        return FormWarning(text=text)
    return FormWarning(text=text, remedy=f"Use {other.title}", changes={"model": other.id})


def _warn_of_length(
    studio: Studio, guide: FormGuide, model: Model, texts: Mapping[str, str], user: User
) -> Iterator[FormWarning]:
    try:
        drawn = draw_prompts([*texts.values()], studio.engine.wildcards.of(user.name))
    except StudioError:  # said beside the prompt
        return
    for (name, text), one in zip(texts.items(), drawn, strict=True):
        chunks = guide.count_chunks(model, one)
        if chunks <= MAX_QUIET_CHUNKS:
            continue
        shorter = guide.shorten_prompt(model, text) if one == text else ""
        what = "The negative prompt" if name == "negative_prompt" else "The prompt"
        yield FormWarning(
            text=f"{what} takes {chunks} chunks: it is slow, and its end counts for little.",
            remedy=f"Cut to {MAX_QUIET_CHUNKS} chunks" if shorter else "",
            changes={name: shorter} if shorter else {},
        )


def _warn_of_names(studio: Studio, model: Model, texts: Mapping[str, str]) -> Iterator[FormWarning]:
    """Warnings of LoRAs and embeddings that prompts name and that are not here."""
    if Feature.LORA in model.features and any("<" in text for text in texts.values()):
        yield from _warn_of_loras(studio.store.weights(), texts)
    if any(_EMBEDDING.search(text) for text in texts.values()):
        yield from _warn_of_embeddings(studio.store.weights(), texts)


def _warn_of_loras(weights: Sequence[WeightFile], texts: Mapping[str, str]) -> Iterator[FormWarning]:
    known = [weight.name for weight in weights if weight.kind is WeightKind.LORA and not weight.problem]
    for name, text in texts.items():
        try:
            split_tags(text)
        except InvalidRequest as error:
            yield FormWarning(text=f"{error.message} {error.hint}")
            continue
        missing = (lora for lora in list_tag_names(text) if not any(is_same_name(each, lora) for each in known))
        for lora in itertools.islice(missing, _MAX_NAMES):
            other = _find_similar(lora, known)
            renamed = rename_tags(text, lora, other)
            yield FormWarning(
                text=f"There is no LoRA “{lora}”.",
                remedy=f"Use {other}" if other else "Remove it",
                changes={name: renamed if other else _tidy_commas(renamed)},
            )


def _warn_of_embeddings(weights: Sequence[WeightFile], texts: Mapping[str, str]) -> Iterator[FormWarning]:
    known = [weight.name for weight in weights if weight.kind is WeightKind.EMBEDDING and not weight.problem]
    for name, text in texts.items():
        named = dict.fromkeys(match[1] for match in _EMBEDDING.finditer(text))
        missing = (one for one in named if not any(is_same_name(each, one) for each in known))
        for embedding in itertools.islice(missing, _MAX_NAMES):
            other = _find_similar(embedding, known)
            yield FormWarning(
                text=f"There is no embedding “{embedding}”.",
                remedy=f"Use {other}" if other else "Remove it",
                changes={name: _replace_embedding(text, embedding, other)},
            )


def _replace_embedding(text: str, name: str, other: str) -> str:
    def change(match: re.Match[str]) -> str:
        return (f"embedding:{other}" if other else "") if match[1] == name else match[0]

    changed = _EMBEDDING.sub(change, text)
    return changed if other else _tidy_commas(changed)


def _find_similar(name: str, known: Sequence[str]) -> str:
    """The name among `known` that was most likely meant, "" where none is near."""
    by_stem = {each.rpartition("/")[2].casefold(): each for each in known}
    near = difflib.get_close_matches(name.rpartition("/")[2].casefold(), by_stem, n=1, cutoff=0.75)
    return by_stem[near[0]] if near else ""


def _tidy_commas(text: str) -> str:
    """`text` without the empty places that a removed word leaves between commas."""
    return re.sub(r"(?<!\s)\s*,(?:\s*,)+", ",", re.sub(r"[ \t]{2,}", " ", text)).strip(" ,")


def _warn_of_size(model: Model, values: Values) -> Iterator[FormWarning]:
    """A warning of a size that the model refuses or that is far from its own; services check and fit theirs
    themselves."""
    width, height = values.get("width"), values.get("height")
    sized = isinstance(width, int | float) and isinstance(height, int | float) and values.get("own_size", True) is True
    if not sized or model.lane != GPU_LANE or not model.sizes.liked or (width, height) in model.sizes.liked:
        return
    wide, high = int(width), int(height)
    areas = [liked[0] * liked[1] for liked in model.sizes.liked]
    if wide < 1 or high < 1 or min(areas) * LEAST_AREA <= wide * high <= max(areas) * MOST_AREA:
        return
    better = _fit_trained_area(model, wide, high)
    yield FormWarning(
        text=_find_refusal(model, wide, high) or _describe_distance(model, wide, high),
        remedy="Use {} × {}".format(*better),
        changes={"width": better[0], "height": better[1]},
    )


def _find_refusal(model: Model, width: int, height: int) -> str:
    """What Generate would say to that size, "" where the model draws it."""
    try:
        model.check_size(width, height)
    except InvalidRequest as error:
        return f"{error.message} {error.hint}"
    return ""


def _describe_distance(model: Model, width: int, height: int) -> str:
    trained = "{} × {}".format(*model.sizes.liked[0])
    small = width * height < min(wide * high for wide, high in model.sizes.liked)
    effect = "images may lack detail" if small else "images may repeat themselves"
    return f"{width} × {height} is far from the {trained} that {model.title} was trained at; {effect}."


def _fit_trained_area(model: Model, width: int, height: int) -> tuple[int, int]:
    """The (width, height) in px of the same shape at the area that the model was trained at."""
    try:
        return model.sizes.fit_size(None, None, f"{width}:{height}")
    except InvalidRequest:  # a shape that no model draws
        return model.sizes.liked[0]

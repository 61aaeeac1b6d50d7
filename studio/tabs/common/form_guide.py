"""What helps the user to fill the form: examples that the model does well, style presets, token counts."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import studio
from studio.core.errors import ModelBroken
from studio.core.model import Feature, Model
from studio.core.request import GenerationRequest
from studio.engine.studio import Studio
from studio.prompting import styles
from studio.prompting.tokens import TokenCounter
from studio.tabs.common import model_selection

_CLIP = (
    Path(studio.__file__).parent / "pipelines" / "configs" / "clip_tokenizer"
)  # a data folder: CLIP's own vocabulary
OWN_STYLES = "styles.json"  # below the models folder; a list of {name, prompt, negative_prompt}
_MOST_EXAMPLES = 8


class Guide:
    """Reads small files of the studio and of the models, once each."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._counter = functools.lru_cache(maxsize=16)(TokenCounter)

    def examples(self, model: Model) -> list[str]:
        """Prompts that come with the model, none when it brings none."""
        folder = self._folder(model.id)
        if folder is None:
            return []
        try:
            found = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        texts = [entry if isinstance(entry, str) else entry.get("prompt", "") for entry in found]
        return [text for text in texts if text][:_MOST_EXAMPLES]

    def styles(self) -> list[str]:
        """The names of the style presets, the user's own among them."""
        return list(self._presets())

    def styled(self, request: GenerationRequest, names: Sequence[str]) -> GenerationRequest:
        """`request` with the words of the named presets. They are written out, so that a recipe outlives its styles.

        Raises:
            InvalidRequest: there is no such style.
        """
        prompt, negative = styles.apply(request.prompt, request.negative_prompt, names, self._presets())
        takes_negative = Feature.NEGATIVE_PROMPT in model_selection.named(self._studio, request.model).features
        return request.replace(prompt=prompt, negative_prompt=negative if takes_negative else "")

    def _presets(self) -> Mapping[str, styles.Style]:
        return styles.load(self._studio.settings.current.models_dir / OWN_STYLES)

    def counts(self, model_id: str, prompt: str, negative: str) -> str:
        """The two token counts as HTML, empty for models whose text encoder is not CLIP."""
        model = next((model for model in self._studio.engine.models() if model.id == model_id), None)
        if model is None or Feature.PROMPT_SYNTAX not in model.features:
            return ""
        folder = self._folder(model_id)
        own = folder / "tokenizer" if folder is not None else _CLIP
        try:
            counter = self._counter(own if own.is_dir() else _CLIP)
        except ModelBroken:
            return ""
        texts = (("prompt", prompt), ("negative", negative)) if negative.strip() else (("prompt", prompt),)
        return "".join(_chip(name, *counter.count(text)) for name, text in texts)

    def _folder(self, model_id: str) -> Path | None:
        """The model's diffusers folder, None for single files and cloud models."""
        weight = next((weight for weight in self._studio.store.weights() if weight.name == model_id), None)
        return weight.path if weight is not None and weight.is_folder else None


def _chip(name: str, used: int, limit: int) -> str:
    return f'<span class="count" title="Tokens of the {name}"><b>{used}</b>/{limit}<i> tokens{", negative" if name == "negative" else ""}</i></span>'

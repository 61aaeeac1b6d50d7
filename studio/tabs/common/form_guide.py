"""Help with the form: example prompts for the model, style presets, token counts."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import studio
from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.model import Feature, Model
from studio.core.request import GenerationRequest
from studio.engine.studio import Studio
from studio.prompting import styles
from studio.prompting.tokens import TokenCounter
from studio.tabs.common import model_selection

_CLIP_TOKENIZER = (
    Path(studio.__file__).parent / "pipelines" / "configs" / "clip_tokenizer"
)  # a data folder: CLIP's own vocabulary
STYLES_FILE = "styles.json"  # below the models folder; a list of {name, prompt, negative_prompt}
MAX_QUIET_CHUNKS = 4  # of 75 tokens; a longer prompt is warned of
_MAX_EXAMPLES = 8


class FormGuide:
    """Reads small files of the studio and of the models, once each."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._counter = functools.lru_cache(maxsize=16)(TokenCounter)

    def list_examples(self, model: Model) -> list[str]:
        """Prompts that come with the model, none when it brings none."""
        folder = self._find_folder(model.id)
        if folder is None:
            return []
        try:
            found = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return []
        if not isinstance(found, list):
            return []
        texts = [entry.get("prompt") if isinstance(entry, dict) else entry for entry in found]
        return [text for text in texts if text and isinstance(text, str)][:_MAX_EXAMPLES]

    def list_styles(self) -> list[str]:
        """The names of the style presets, the user's own among them."""
        return list(self._load_presets())

    def apply_styles(self, request: GenerationRequest, names: Sequence[str]) -> GenerationRequest:
        """`request` with the words of the named presets. They are written out, so that a recipe outlives its styles.

        Raises:
            InvalidRequest: there is no such style.
        """
        prompt, negative = styles.apply_styles(request.prompt, request.negative_prompt, names, self._load_presets())
        takes_negative = (
            Feature.NEGATIVE_PROMPT in model_selection.get_selectable_model(self._studio, request.model).features
        )
        return request.replace(prompt=prompt, negative_prompt=negative if takes_negative else "")

    def _load_presets(self) -> Mapping[str, styles.Style]:
        return styles.load_styles(self._studio.settings.current.models_dir / STYLES_FILE)

    def counts(self, model_id: str, prompt: str, negative: str) -> str:
        """The two token counts as HTML, where the model's text encoder is CLIP."""
        model = next((model for model in self._studio.engine.models() if model.id == model_id), None)
        counter = self._get_counter(model) if model is not None else None
        if counter is None:
            return ""
        texts = (("prompt", prompt), ("negative", negative)) if negative.strip() else (("prompt", prompt),)
        try:
            return "".join(_render_count(name, *counter.count(text)) for name, text in texts)
        except InvalidRequest:  # a broken tag is warned of
            return ""

    def count_chunks(self, model: Model, text: str) -> int:
        """The chunks that the text encoder of `model` reads `text` in; 0 where it does not read in chunks."""
        counter = self._get_counter(model)
        try:
            return counter.count(text)[1] // counter.chunk_length if counter is not None else 0
        except InvalidRequest:
            return 0

    def shorten_prompt(self, model: Model, text: str) -> str:
        """The beginning of `text` that takes MAX_QUIET_CHUNKS chunks of `model`; "" where it cannot be cut."""
        counter = self._get_counter(model)
        try:
            return counter.shorten(text, MAX_QUIET_CHUNKS) if counter is not None else ""
        except InvalidRequest:
            return ""

    def _get_counter(self, model: Model) -> TokenCounter | None:
        if Feature.PROMPT_SYNTAX not in model.features:
            return None
        folder = self._find_folder(model.id)
        own = folder / "tokenizer" if folder is not None else _CLIP_TOKENIZER
        try:
            return self._counter(own if own.is_dir() else _CLIP_TOKENIZER)
        except ModelBroken:
            return None

    def _find_folder(self, model_id: str) -> Path | None:
        """The model's diffusers folder, None for single files and cloud models."""
        weight = next((weight for weight in self._studio.store.weights() if weight.name == model_id), None)
        return weight.path if weight is not None and weight.is_folder else None


def _render_count(name: str, used: int, limit: int) -> str:
    return (
        f'<span class="count" title="Tokens of the {name}"><b>{used}</b>/{limit}<i>'
        f" tokens{', negative' if name == 'negative' else ''}</i></span>"
    )

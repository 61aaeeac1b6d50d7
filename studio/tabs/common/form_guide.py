"""Help with the form: example prompts for the model, style presets, token counts."""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import studio
from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.lora_tags import split_tags
from studio.core.model import Feature, Model
from studio.core.request import GenerationRequest
from studio.core.weights import WeightKind
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
        texts = [entry if isinstance(entry, str) else entry.get("prompt", "") for entry in found]
        return [text for text in texts if text][:_MAX_EXAMPLES]

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
        """The two token counts as HTML, where the model's text encoder is CLIP, and what will not work as it stands."""
        model = next((model for model in self._studio.engine.models() if model.id == model_id), None)
        if model is None:
            return ""
        unknown = self._describe_loras(prompt + negative) if Feature.LORA in model.features else ""
        return self._count_tokens(model, prompt, negative) + unknown

    def _count_tokens(self, model: Model, prompt: str, negative: str) -> str:
        if Feature.PROMPT_SYNTAX not in model.features:
            return ""
        folder = self._find_folder(model.id)
        own = folder / "tokenizer" if folder is not None else _CLIP_TOKENIZER
        try:
            counter = self._counter(own if own.is_dir() else _CLIP_TOKENIZER)
            texts = (("prompt", prompt), ("negative", negative)) if negative.strip() else (("prompt", prompt),)
            counted = [(name, *counter.count(text)) for name, text in texts]
        except (ModelBroken, InvalidRequest):  # a broken tag is shown beside
            return ""
        chunks = max(limit for _, _, limit in counted) // counter.chunk_length
        long = f"The prompt takes {chunks} chunks: it is slow, and its end counts for little. Shorten it."
        return "".join(_render_count(*each) for each in counted) + (
            _render_warning(long) if chunks > MAX_QUIET_CHUNKS else ""
        )

    def _describe_loras(self, text: str) -> str:
        """The LoRAs that tags in `text` name and that are not here, as HTML; a tag that cannot be read is named too."""
        try:
            named = [use.name for use in split_tags(text)[1]]
        except InvalidRequest as error:
            return _render_warning(f"{error.message} {error.hint}")
        files = (
            [weight.name for weight in self._studio.store.weights() if weight.kind is WeightKind.LORA] if named else []
        )
        known = {_fold_name(each) for name in files for each in (name, name.rpartition("/")[2])}
        missing = dict.fromkeys(name for name in named if _fold_name(name) not in known)
        return _render_warning(f"There is no LoRA “{'”, “'.join(missing)}”.") if missing else ""

    def _find_folder(self, model_id: str) -> Path | None:
        """The model's diffusers folder, None for single files and cloud models."""
        weight = next((weight for weight in self._studio.store.weights() if weight.name == model_id), None)
        return weight.path if weight is not None and weight.is_folder else None


def _fold_name(name: str) -> str:
    """As names are compared: without regard to case, and to how an accent is written."""
    return unicodedata.normalize("NFC", name).casefold()


def _render_warning(text: str) -> str:
    return f'<span class="note note-bad" role="status">{escape(text)}</span>'


def _render_count(name: str, used: int, limit: int) -> str:
    return (
        f'<span class="count" title="Tokens of the {name}"><b>{used}</b>/{limit}<i>'
        f" tokens{', negative' if name == 'negative' else ''}</i></span>"
    )

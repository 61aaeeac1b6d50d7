"""LoRAs as cards: what each file says of itself, the words that it answers to, and the preview that lies beside it."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from studio.api.rights import needs
from studio.core.errors import ModelBroken, NotFound
from studio.core.image_gate import ImageLimits, open_image
from studio.core.model import GPU_LANE
from studio.core.rights import Right
from studio.core.weights import WeightFile, WeightKind
from studio.engine.studio import Studio
from studio.tabs.common import model_selection

MAX_WORDS = 12
MAX_WORD_CHARS = 80
MAX_NOTES_BYTES = 256 * 1024  # of the file that AUTOMATIC1111 writes beside a LoRA
PREVIEW_SIDE = 320  # px
PREVIEW_ENDINGS = (".preview.png", ".png", ".preview.jpg", ".jpg", ".jpeg", ".preview.webp", ".webp")
_CACHED_CARDS, _CACHED_PREVIEWS = 4096, 128
_PREVIEW_HEADERS = {"Cache-Control": "private, max-age=3600"}


@dataclass(frozen=True, kw_only=True)
class LoraFacts:
    """What is known of a LoRA: its own title, the words that it was trained on, the weight to begin with."""

    title: str = ""
    words: tuple[str, ...] = ()
    weight: float = 1.0


def build_lora_router(studio: Studio) -> APIRouter:
    """The routes of the cards: all LoRAs, and the preview of one by its name."""
    router = APIRouter(prefix="/page/loras", include_in_schema=False, dependencies=[needs(Right.USE)])
    cards = LoraCards(studio)

    @router.get("")
    def get_loras(request: Request, model: str = "") -> list[dict[str, Any]]:
        """Every usable LoRA, those of the model's family first."""
        return cards.list_cards(model)

    @router.get("/preview")
    def get_preview(request: Request, name: str) -> Response:
        weight = next((one for one in _list_loras(studio) if one.name == name), None)
        path = find_preview(weight.path) if weight is not None else None
        if path is None:
            raise NotFound("There is no preview of this LoRA.", hint="Put an image of its name beside it.")
        limits = ImageLimits.of(studio.settings.current)
        data = _render_preview(path, path.stat().st_mtime_ns, limits)
        return Response(data, media_type="image/webp", headers=_PREVIEW_HEADERS)

    return router


class LoraCards:
    """The cards of all LoRAs; a file is read again when it or the notes beside it changed."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._read_cached = functools.lru_cache(maxsize=_CACHED_CARDS)(self._read_facts)

    def list_cards(self, model_id: str) -> list[dict[str, Any]]:
        """The cards of all usable LoRAs as JSON; those that fit the local model `model_id` come first, as far as is
        known."""
        model = model_selection.find_selectable_model(self._studio, model_id)
        family = model.family if model is not None and model.lane == GPU_LANE else ""
        cards: list[dict[str, Any]] = []
        for weight in _list_loras(self._studio):
            facts = self._read_cached(weight, tuple(map(_get_stamp, (weight.path, _get_notes_path(weight)))))
            cards.append(
                {
                    "name": weight.name,
                    "title": facts.title or weight.name.rpartition("/")[2],
                    "words": list(facts.words),
                    "weight": facts.weight,
                    "family": weight.family,
                    "fits": not family or not weight.family or weight.family == family,
                    "preview": find_preview(weight.path) is not None,
                }
            )
        return sorted(cards, key=lambda card: (not card["fits"], card["name"].casefold()))

    def _read_facts(self, weight: WeightFile, stamps: tuple[int, ...]) -> LoraFacts:
        try:
            metadata = self._studio.store.read_metadata(weight)
        except ModelBroken:
            metadata = {}
        return parse_facts(metadata, _read_notes(_get_notes_path(weight)))


def _list_loras(studio: Studio) -> list[WeightFile]:
    return [one for one in studio.store.weights() if one.kind is WeightKind.LORA and not one.problem]


def _get_notes_path(weight: WeightFile) -> Path:
    return weight.path.with_suffix(".json")


def parse_facts(metadata: Mapping[str, str], notes: Mapping[str, Any]) -> LoraFacts:
    """The facts in a file's own `metadata` (modelspec's, kohya's), and first in the `notes` that AUTOMATIC1111 keeps
    beside it."""
    given = [notes.get("activation text"), metadata.get("modelspec.trigger_phrase")]
    named = next((text for text in given if isinstance(text, str) and text.strip()), "")
    words = [word.strip() for word in named.split(",") if word.strip()] or _list_frequent_tags(metadata)
    weight = notes.get("preferred weight")
    known = isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < abs(weight) <= 5
    title = metadata.get("modelspec.title") or ""
    return LoraFacts(
        title=title[:MAX_WORD_CHARS],
        words=tuple(word[:MAX_WORD_CHARS] for word in words[:MAX_WORDS]),
        weight=float(weight) if known and weight is not None else 1.0,
    )


def _list_frequent_tags(metadata: Mapping[str, str]) -> list[str]:
    """The words that most training images were tagged with, as kohya's trainer counts them."""
    counts: dict[str, int] = {}
    try:
        folders = json.loads(metadata.get("ss_tag_frequency") or "{}")
        for tags in folders.values():
            for tag, count in tags.items():
                counts[tag.strip()] = counts.get(tag.strip(), 0) + int(count)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []
    return sorted((tag for tag in counts if tag), key=lambda tag: -counts[tag])


def _read_notes(path: Path) -> Mapping[str, Any]:
    try:
        if not path.is_file() or path.stat().st_size > MAX_NOTES_BYTES:
            return {}
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return notes if isinstance(notes, dict) else {}


def find_preview(path: Path) -> Path | None:
    """The image beside the file `path` that other programs show for it."""
    beside = (path.with_suffix(ending) for ending in PREVIEW_ENDINGS)
    return next((image for image in beside if image.is_file()), None)


def _get_stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=_CACHED_PREVIEWS)
def _render_preview(path: Path, stamp: int, limits: ImageLimits) -> bytes:
    """A small WebP of the image; raises BadImage as the gate does."""
    image = open_image(path, limits=limits).convert("RGB")
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()

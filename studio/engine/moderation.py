"""Moderation: the one place that every request, answer and image passes, whatever route it came by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from enum import Enum
from typing import Any, cast

from PIL import Image

from studio.core.errors import ContentRefused, StudioError
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.settings import Settings
from studio.core.trust import MINORS, Moderator, Stage, Verdict
from studio.engine.audit import AuditEvent, AuditLog
from studio.engine.jobs.passes import plan_images

PREVIEW_SIDE = 24  # px of previews where images may be held back
_HOLDING = ("blur", "block")
# What is no text of the user's own, or is there to keep something out of the image.
_NO_TEXTS = frozenset(
    """negative_prompt negative_template template model sampler schedule vae source batch mask background lighting
    image name aspect fallbacks upscaler font format colour stroke_colour ground kind preprocessor parameter contrast
    base second file_type""".split()
)


class Moderation:
    """Asks the filters and carries out what the settings say. Thread-safe."""

    def __init__(self, moderator: Moderator | None, audit: AuditLog) -> None:
        self._moderator = moderator
        self._audit = audit

    def check_request(self, request: GenerationRequest, user: str, settings: Settings) -> str:
        """Look at the texts of an admitted request, with its prompts as they were drawn; returns a notice, "" when
        nothing was found.

        Raises:
            ContentRefused: the settings refuse what was found, or nothing can allow it.
        """
        verdict = self._check_texts(list_texts(request), Stage.PROMPT, settings)
        if verdict is None:
            return ""
        if verdict.category == MINORS or settings.moderation == "block":
            raise self._refuse(verdict, user)
        return verdict.describe_finding()

    def check_answer(self, text: str, user: str, settings: Settings) -> None:
        """Look at what a language model wrote; raises as `check_request`."""
        verdict = self._check_texts([text], Stage.CHAT, settings)
        if verdict is not None and (verdict.category == MINORS or settings.moderation == "block"):
            raise self._refuse(verdict, user)

    def check_upload(self, image: Image.Image, user: str, settings: Settings) -> None:
        """Look at an image that a user brings, where the settings refuse such; raises as `check_request`."""
        if self._moderator is None or settings.moderation != "block":
            return
        verdict = self._moderator.check_image(image, Stage.UPLOAD, settings)
        if verdict is not None:
            raise self._refuse(verdict, user)

    def inspect(self, asset: Asset, image: Image.Image, settings: Settings) -> Verdict | None:
        """What is found in a finished image or in the texts that it was made from; None for nothing. Called in the
        savers' threads."""
        if self._moderator is None or settings.moderation == "off":
            return None
        verdict = self._moderator.check_image(image, Stage.IMAGE, settings)
        return verdict or self._check_texts(list_texts(asset.request), Stage.PROMPT, settings)

    def is_held(self, settings: Settings) -> bool:
        """Whether an image that was objected to is kept back."""
        return settings.moderation in _HOLDING

    def note_held(self, asset: Asset, verdict: Verdict) -> None:
        """Write into the audit log that an image is held back."""
        self._audit.record(AuditEvent.IMAGE_HELD, asset.user, asset=asset.id, **verdict.to_json())

    def _check_texts(self, texts: list[str], stage: Stage, settings: Settings) -> Verdict | None:
        return self._moderator.check_texts(texts, stage, settings) if self._moderator is not None else None

    def _refuse(self, verdict: Verdict, user: str) -> StudioError:
        self._audit.record(AuditEvent.REQUEST_REFUSED, user, **verdict.to_json())
        hint = (
            "No setting allows this."
            if verdict.category == MINORS
            else "Change it, or ask an administrator: the setting “moderation” and the word lists decide."
        )
        found = f" Found: {', '.join(verdict.words)}." if verdict.words else ""
        return ContentRefused(
            verdict.describe_finding() + found, hint=hint, details={**verdict.to_json(), "words": list(verdict.words)}
        )


def limit_preview(side: int, settings: Settings) -> int:
    """The side of previews: coarse where the finished image may be held back."""
    return min(side, PREVIEW_SIDE) if settings.moderation in _HOLDING else side


def list_texts(request: GenerationRequest) -> list[str]:
    """All texts that say what is to be seen in one image, as one text; where prompts are drawn, or a grid puts other
    words into them, one for each image."""
    if request.axes:  # of which each may bring half a word
        return list(dict.fromkeys(text for image in plan_images(request) for text in list_texts(image.request)))
    asked = (request, *request.then)
    turned = any(one.negative_weight < 0 for one in asked)  # then negative prompts say what is to be seen
    if not request.drawn:
        against = [text for one in asked for text in _list_negative_prompts(one)] if turned else []
        return ["\n".join((*iterate_texts(request), *against))]
    same = list(iterate_texts(request.replace(prompt="", drawn=())))
    # prompts and negative prompts take turns
    return ["\n".join((*texts[:: 1 if turned else 2], *same)) for texts in dict.fromkeys(request.drawn)]


def _list_negative_prompts(request: GenerationRequest) -> list[str]:
    parts = (*([request.hires] if request.hires is not None else []), *request.detailers)
    return [request.negative_prompt, *(part.negative_prompt for part in parts)]


def iterate_texts(value: Any, name: str = "") -> Iterator[str]:
    """The texts in `value`, a request or a part of one, that say what is to be seen: prompts, search words, text to be
    drawn; not negative prompts and names."""
    if name in _NO_TEXTS or isinstance(value, Enum):
        return
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, tuple):
        for each in cast("tuple[Any, ...]", value):
            yield from iterate_texts(each, name)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from iterate_texts(getattr(value, field.name), field.name)

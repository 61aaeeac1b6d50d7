"""The hidden mark in the pixels of images that models made: a hash of the recipe, by which the library finds it again.

It follows from the request alone, so that the same request still gives the same pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.core.result import Asset, RenderedImage
from studio.core.settings import Settings
from studio.core.source_type import MADE_BY_MODELS
from studio.library.marks import compute_mark


class HiddenMarks:
    """Puts the mark into images. `hide` hides a text in an image and raises InvalidRequest where it does not fit."""

    def __init__(self, hide: Callable[[Image.Image, str], Image.Image] | None) -> None:
        self._hide = hide

    def apply(self, asset: Asset, rendered: RenderedImage, settings: Settings) -> RenderedImage:
        """`rendered` with the mark, where the settings want one and a model made the image. A text that the user hid
        stays; an image that cannot take the mark stays as it is, with a note."""
        if self._hide is None or settings.mark != "id" or asset.source_type not in MADE_BY_MODELS:
            return rendered
        if any(_has_own_text(request) for request in (*asset.history, asset.request)):
            return rendered
        plain = rendered.image if rendered.image.mode in ("RGB", "RGBA") else rendered.image.convert("RGB")
        try:
            return dataclasses.replace(rendered, image=self._hide(plain, compute_mark(asset.request)))
        except InvalidRequest as error:
            return dataclasses.replace(rendered, notes=(*rendered.notes, f"No hidden mark: {error.message}"))


def _has_own_text(request: GenerationRequest) -> bool:
    marks = [
        part.watermark
        for step in (request, *request.then)
        for part in (step.finish, step.social)
        if part is not None and part.watermark is not None
    ]
    return any(mark.hidden for mark in marks)

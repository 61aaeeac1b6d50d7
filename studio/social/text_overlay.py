"""Text and watermark over a format, the text inside the format's safe area."""

from __future__ import annotations

import dataclasses

from PIL import Image

from studio.core.ports import JobContext
from studio.core.social import SocialExport
from studio.core.social_formats import Format
from studio.finishing import hidden_text, text, watermark
from studio.finishing.fonts import Fonts


class Overlay:
    """The text and watermark of one request for all its formats; checked and read once.

    Raises:
        InvalidRequest: a text without words, or no colour. NotFound: the logo is gone.
    """

    def __init__(self, social: SocialExport, fonts: Fonts, ctx: JobContext) -> None:
        self._texts = social.text
        self._mark = social.watermark
        self._fonts = fonts
        for overlay in self._texts:
            text.check_overlay(overlay)
        logo = self._mark.image if self._mark else None
        self._logo = ctx.load_image(logo) if logo else None

    def draw(self, image: Image.Image, of: Format) -> tuple[Image.Image, list[str]]:
        """(the image with text and watermark, what the user should know). Raises InvalidRequest for a font that is not
        there."""
        notes: list[str] = []
        for overlay in self._texts:
            drawn = text.draw_text(image, overlay, self._fonts, within=of.safe_box)
            image = drawn.image
            notes += drawn.notes
        mark = self._mark
        if mark is None:
            return image, notes
        if mark.hidden and min(image.size) < hidden_text.MIN_HIDDEN_SIDE:
            notes.append("Too small for the hidden watermark, which was omitted.")
            mark = dataclasses.replace(mark, hidden="")
            if self._logo is None and not mark.text.strip():
                return image, notes
        return watermark.draw_watermark(image, mark, self._logo, self._fonts), notes

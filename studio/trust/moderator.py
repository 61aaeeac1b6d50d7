"""All filters as one: words, the network for images, and a service where the settings name one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from studio.core.errors import StudioError
from studio.core.settings import Settings
from studio.core.trust import MINORS, Stage, Verdict
from studio.trust import image_filter
from studio.trust.image_filter import ImageFilter
from studio.trust.words import WordFilter

SEXUAL = "sexual content"

_log = logging.getLogger(__name__)


class Filters:
    """Implements `Moderator`. The word lists are read again when their file changes."""

    def __init__(
        self,
        own_words: Path,
        ask_service: Callable[[Sequence[str], Image.Image | None, Stage], Verdict | None] = lambda *_: None,
    ) -> None:
        """`own_words` is the file that adds to our lists. `ask_service` sends texts and an image to a service, and
        raises StudioError where it does not answer."""
        self._own_words = own_words
        self._ask_service = ask_service
        self._images = ImageFilter()
        self._lock = threading.Lock()
        self._words: tuple[float, WordFilter] | None = None

    def check_texts(self, texts: Sequence[str], stage: Stage, settings: Settings) -> Verdict | None:
        """As the protocol says."""
        found = self._open_words().check(texts, stage)
        if found and found[0].category == MINORS:
            return found[0]
        if settings.moderation == "off":
            return None
        return found[0] if found else self._ask(texts, None, stage, settings)

    def check_image(self, image: Image.Image, stage: Stage, settings: Settings) -> Verdict | None:
        """As the protocol says."""
        if settings.moderation == "off":
            return None
        limit = settings.moderation_limit
        if self._images.is_there and (score := self._images.score(image)) >= limit:
            return Verdict(category=SEXUAL, score=score, limit=limit, stage=stage, by=image_filter.NAME)
        return self._ask((), image, stage, settings)

    def _ask(self, texts: Sequence[str], image: Image.Image | None, stage: Stage, settings: Settings) -> Verdict | None:
        """A service that does not answer stops nobody: the filters of this machine have looked already."""
        if not settings.moderation_openai:
            return None
        try:
            return self._ask_service(texts, image, stage)
        except StudioError as error:
            _log.warning("the moderation service did not answer: %s", error.message)
            return None

    def _open_words(self) -> WordFilter:
        try:
            changed = self._own_words.stat().st_mtime
        except OSError:
            changed = 0.0
        with self._lock:
            if self._words is None or self._words[0] != changed:
                self._words = (changed, WordFilter.load(self._own_words))
            return self._words[1]

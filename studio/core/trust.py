"""Values of moderation that engine and filters share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

from PIL import Image

from studio.core.settings import Settings

MINORS = "minors"  # the category that no setting lets through


class Stage(StrEnum):
    """What was looked at."""

    PROMPT = "prompt"
    CHAT = "chat answer"
    UPLOAD = "uploaded image"
    IMAGE = "image"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a filter objects to: `score` reached `limit`, both from 0 to 1. `by` names the filter, `words` the
    terms that it found, for the user who wrote them and nobody else."""

    category: str
    score: float
    limit: float
    stage: str
    by: str
    words: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Without the words."""
        return {name: value for name, value in asdict(self).items() if name != "words"}

    def describe_finding(self) -> str:
        """A sentence for the user."""
        return f"{self.by} finds {self.category} in the {self.stage} ({self.score:.2f}, the limit is {self.limit:.2f})."


class Moderator(Protocol):
    """Filters for texts and images. All methods may be called from any thread."""

    def check_texts(self, texts: Sequence[str], stage: Stage, settings: Settings) -> Verdict | None:
        """What is objected to in `texts`, None for nothing. The rule for minors holds whatever the settings say."""
        ...

    def check_image(self, image: Image.Image, stage: Stage, settings: Settings) -> Verdict | None:
        """What is objected to in `image`, None for nothing, or where no filter for images is there."""
        ...

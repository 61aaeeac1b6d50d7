"""Detailers: parts of a finished image, such as faces, that are found and drawn again at full resolution."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.core.field_spec import check_fields
from studio.core.field_tables.detailer import DETAILER_FIELDS, FACE

MAX_DETAILERS = 4


@dataclass(frozen=True, kw_only=True)
class Detailer:
    """One kind of area to find and redraw. `target` is "face", which the detector that ships finds, or words that name
    what to look for. `prompt` may have a part for each area, divided by [SEP]; [PROMPT] stands for the image's own and
    [SKIP] leaves an area as it is. Lengths in px of the image; `grow` widens the mask (below 0: narrows it). `count` is
    how many areas at most are redrawn, the largest first; 0 is all. An area is drawn at `width` × `height`, or at the
    size of the image's first pass. Every other field that is None or empty is taken from the image's own.
    """

    FIELDS = DETAILER_FIELDS

    target: str = FACE
    prompt: str = ""
    negative_prompt: str = ""
    strength: float = 0.4
    confidence: float = 0.5
    count: int = 0
    grow: int = 4
    mask_blur: int = 4
    padding: int = 32
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, "detailer")
        if (self.width is None) != (self.height is None):
            raise InvalidRequest(
                "The detailer has a width or a height, but not both.", hint="Give both, or leave both empty."
            )
        if not self.target.strip():
            raise InvalidRequest("The detailer has no target.", hint="Choose one, or name what to look for.")

    @property
    def finds_faces(self) -> bool:
        """Whether it looks for faces, by the detector that ships."""
        return self.target.strip().lower() in (FACE, "faces")

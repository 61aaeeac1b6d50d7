"""Results: pixels first, then a saved file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from studio.core.finish import OutputOptions
from studio.core.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class RenderedImage:
    """One image as pixels, 8-bit RGB or RGBA. `seed` is the seed that draws this image alone, in ComfyUI's batches the
    batch's, of which the image is the one at `batch_index`; `notes` say what was changed on the way (a smaller batch, a
    fallback model).

    Where one image ends as several files, `request` asks for this one alone, `label` names it ("instagram.story") and
    `file` says how it is written. `cost` is what a service billed for it, in US dollars, None where it did not say.
    `ordered_at` is when a service took the order (seconds since the epoch), where an earlier call sent it. `original`
    is the file as a service or another program delivered it, where it has Content Credentials.
    """

    image: Image.Image
    seed: int = 0
    variation_seed: int | None = None
    batch_index: int = 0
    notes: tuple[str, ...] = ()
    request: GenerationRequest | None = None
    label: str = ""
    file: OutputOptions | None = None
    cost: float | None = None
    ordered_at: float | None = None
    original: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One saved image. `request` asks for exactly this image (count 1, its own seed); `id` is what HTTP and page name
    it by.

    `parents` are the assets that it was made from, `history` the requests that made its source, the first one first.
    `source` names the program that a foreign image comes from, "" for the studio's own.
    `blurred` means that moderation holds the original back.
    `source_type` is the IPTC digital source type that says whether a model drew it, "" where nothing is known to have.
    """

    id: str
    job_id: str
    user: str
    index: int
    path: Path
    width: int
    height: int
    seed: int
    created: float  # seconds since the epoch
    request: GenerationRequest
    infotext: str = ""
    notes: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    history: tuple[GenerationRequest, ...] = ()
    label: str = ""
    source_type: str = ""
    source: str = ""
    blurred: bool = False

    @property
    def drawn(self) -> GenerationRequest:
        """The request of the last step that drew, which has prompt and settings; the last of all where none did."""
        return find_last_drawn((*self.history, self.request)) or self.request


def find_last_drawn(story: Sequence[GenerationRequest]) -> GenerationRequest | None:
    """The last request of an image's story that drew it; what enlarged or finished it later has no prompt."""
    return next((one for one in reversed(story) if one.task.is_generative), None)

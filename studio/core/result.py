"""What comes out: pixels first, then a saved file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from studio.core.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """One picture as pixels, 8-bit RGB or RGBA. `seed` is the seed that draws this picture alone; `notes` say what was
    changed on the way (a smaller batch, a fallback model)."""

    image: Image.Image
    seed: int
    variation_seed: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One saved picture. `request` asks for exactly this picture (count 1, its own seed); `id` is what HTTP and page name it by."""

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
    parents: tuple[str, ...] = field(default=())

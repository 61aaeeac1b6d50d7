"""A picture as a file of the wished kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from studio.core.finish import FileWish
from studio.core.settings import Settings
from studio.engine import embed


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The file's bytes, its ending (".png"), and what the user should know of how it was made."""

    data: bytes
    ending: str
    notes: tuple[str, ...] = ()


def encode(
    image: Image.Image, wish: FileWish | None, settings: Settings, *, infotext: str, recipe: Mapping[str, Any] | None, tool: str
) -> Encoded:  # fmt: skip
    """`image` as `wish` says, else as the settings say, with everything inside."""
    kind = wish.format if wish and wish.format else settings.output_format
    quality = wish.quality if wish and wish.quality else settings.output_quality
    data = embed.encode(image, kind, quality=quality, infotext=infotext, recipe=recipe, tool=tool)
    return Encoded(data=data, ending=embed.ENDINGS[kind])

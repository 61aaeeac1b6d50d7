"""The image that a request works on, at the size that is drawn at."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageFilter, ImageOps

from studio.core.annotate import flatten_on_white
from studio.core.request_parts import Resize

Part = tuple[float, float, float, float]
"""Left, top, right and bottom of what is drawn, as fractions of the whole image; beyond 0 to 1 where margins are."""

_EDGE_BLUR = 1 / 32  # of the longer side: what fills a margin is the edge's colours, not its details


def flatten_alpha(image: Image.Image) -> Image.Image:
    """`image` as the models see it: RGB, transparent parts white."""
    return flatten_on_white(image)


def ensure_rgb(image: Image.Image) -> Image.Image:
    """`image` as RGB, or as RGBA where it has transparency, which a masked change keeps."""
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def resize_source(image: Image.Image, size: tuple[int, int], mode: Resize) -> Image.Image:
    """The RGB `image` at `size`: stretched, cut to its shape around the middle, or whole with the margins filled from
    its edges. Resize.LATENT stretches; the caller does it to the latents instead."""
    if mode is Resize.CROP:
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    if mode is Resize.FILL:
        inside = ImageOps.contain(image, size, Image.Resampling.LANCZOS)
        left, top = (size[0] - inside.width) // 2, (size[1] - inside.height) // 2
        return extend_edges(inside, size, (left, top))
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def find_shown_part(source: tuple[int, int], size: tuple[int, int], mode: Resize) -> Part | None:
    """What `resize_source` shows at `size` of an image of the size `source`; None for all of it."""
    if mode not in (Resize.CROP, Resize.FILL):
        return None
    across, down = (new / old for new, old in zip(size, source, strict=True))
    scale = max(across, down) if mode is Resize.CROP else min(across, down)
    half = across / scale / 2, down / scale / 2
    return 0.5 - half[0], 0.5 - half[1], 0.5 + half[0], 0.5 + half[1]


def extend_edges(image: Image.Image, size: tuple[int, int], place: tuple[int, int]) -> Image.Image:
    """The RGB `image` at `place` of a canvas of `size`, the rest filled with its edges drawn out and blurred."""
    if image.size == size:
        return image
    import numpy as np

    left, top = place
    right, bottom = size[0] - left - image.width, size[1] - top - image.height
    around: Any = ((top, bottom), (left, right), (0, 0))
    drawn_out = np.pad(np.asarray(image), around, mode="edge")
    canvas = Image.fromarray(drawn_out).filter(ImageFilter.GaussianBlur(max(size) * _EDGE_BLUR))
    canvas.paste(image, place)
    return canvas

"""The colour behind transparent parts where a file has no transparency."""

from __future__ import annotations

import re
from typing import cast

from PIL import Image, ImageColor, ImageStat

from studio.core.errors import InvalidRequest

WHITE = "#ffffff"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_LOOK_SIDE = 512  # px that are looked at
_SEEN_OPACITY = 32  # of 255: what is fainter is hardly seen on any ground
_SAME_LIGHTNESS = 32  # of 255: a smaller difference is hard to see


def check_colour(value: str) -> None:
    """Raises InvalidRequest when `value` is not "#rrggbb"."""
    if not _COLOUR.fullmatch(value):
        raise InvalidRequest(f"{value[:40]!r} is not a colour.", hint="Write it as #rrggbb.")


def flatten_on_ground(image: Image.Image, colour: str = WHITE) -> Image.Image:
    """`image` as RGB, its transparent parts in `colour` ("#rrggbb")."""
    if image.mode != "RGBA":
        return image if image.mode == "RGB" else image.convert("RGB")
    ground = Image.new("RGB", image.size, ImageColor.getrgb(colour)[:3])
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def describe_faint_ground(image: Image.Image, colour: str = WHITE) -> str:
    """A notice if `image`, laid on `colour`, is hardly visible; "" otherwise."""
    if image.mode != "RGBA" or image.getchannel("A").getextrema()[0] >= _SEEN_OPACITY:  # type: ignore[operator]
        return ""
    small = image.copy()
    small.thumbnail((_LOOK_SIDE, _LOOK_SIDE))
    seen = small.getchannel("A").point([255 * (value >= _SEEN_OPACITY) for value in range(256)])
    shown, ground = flatten_on_ground(small, colour).convert("L"), cast("int", ImageColor.getcolor(colour, "L"))
    counts = ImageStat.Stat(shown, seen).h
    total = sum(counts)
    apart = sum(count for value, count in enumerate(counts) if abs(value - ground) >= _SAME_LIGHTNESS)
    if not total or apart > total * 0.1:
        return ""
    other = "#000000" if ground > 127 else WHITE
    return f"The image is as light as the ground {colour} and can hardly be seen: try {other}."

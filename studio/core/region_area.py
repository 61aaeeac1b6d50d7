"""An area of an image that has a prompt of its own: a rectangle, a mask, or one colour of a painted mask."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageColor

from studio.core.annotate import read_mask
from studio.core.errors import InvalidRequest
from studio.core.fields import MAX_PROMPT_CHARS
from studio.core.image_fields import image_field
from studio.core.range_checks import check_range

MAX_AREAS = 16
MAX_AREA_WEIGHT = 10.0
MAX_MASK_PIXELS = 4096 * 4096  # of a mask; each area takes a copy of it
AREA_COLOURS = ("#e02020", "#20a020", "#2040e0", "#e0e020", "#e020e0", "#20e0e0")
"""What the page paints areas with, in their order."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_COLOUR_TOLERANCE = 12  # of each channel: saving as a JPEG changes colours by a few
_OPAQUE = 128  # alpha from which a pixel counts as painted


@dataclass(frozen=True, kw_only=True)
class RegionArea:
    """`prompt` counts in the rectangle `width` × `height` at `x`, `y` (fractions of the image, from its upper left
    corner), and of it only where `mask` is white, or, with `colour` ("#rrggbb"), has that colour; grey counts in part.
    With `weight` 1 the area's prompt alone counts there, below 1 the image's prompt counts by the rest. Where areas
    overlap, each counts by its weight.
    """

    prompt: str = ""
    weight: float = 1.0
    mask: str | None = image_field()
    colour: str = ""
    x: float = 0.0
    y: float = 0.0
    width: float = 1.0
    height: float = 1.0

    def __post_init__(self) -> None:
        check_range("area weight", self.weight, 0, MAX_AREA_WEIGHT)
        for name in ("x", "y", "width", "height"):
            check_range(f"area {name}", getattr(self, name), 0, 1)
        if not (self.width > 0 and self.height > 0 and self.x + self.width <= 1.001 and self.y + self.height <= 1.001):
            raise InvalidRequest(
                f"The area {self.width:g}×{self.height:g} at {self.x:g}, {self.y:g} is empty or not inside the image.",
                hint="Write x, y, width and height as fractions of the image, such as 0.5, 0, 0.5, 1.",
            )
        if len(self.prompt) > MAX_PROMPT_CHARS:
            raise InvalidRequest(
                f"The prompt of an area is longer than {MAX_PROMPT_CHARS} characters.", hint="Shorten it."
            )
        if self.colour and not _COLOUR.fullmatch(self.colour):
            raise InvalidRequest(f"“{self.colour[:40]}” is not a colour.", hint="Write it as #rrggbb.")
        if self.colour and not self.mask:
            raise InvalidRequest("An area has a colour but no mask.", hint="Send the mask that has the colour.")


def read_area_mask(image: Image.Image, colour: str) -> Image.Image:
    """The area that `image` shows, L, white where it is: where the image has `colour`, or without one as any mask."""
    if not colour:
        return read_mask(image)
    pixels = image.convert("RGBA")
    plain = Image.new("RGB", pixels.size, ImageColor.getrgb(colour))
    red, green, blue = ImageChops.difference(pixels.convert("RGB"), plain).split()
    farthest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    near = farthest.point([255] * (_COLOUR_TOLERANCE + 1) + [0] * (255 - _COLOUR_TOLERANCE))
    painted = pixels.getchannel("A").point([0] * _OPAQUE + [255] * (256 - _OPAQUE))
    return ImageChops.multiply(near, painted)

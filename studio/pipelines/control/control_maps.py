"""The image that steers, as a map of the size that is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageOps

from studio.core.annotate import flatten_on_white
from studio.core.errors import NotConfigured
from studio.core.ports import Annotators, JobContext
from studio.core.request_parts import ControlUnit, Resize

NO_PREPROCESSOR = "none"
_FLAT = 160  # colours; a map with fewer is drawn in flat ones (segments, poses), which must not be mixed


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The frame of a map: `size` (width, height) in px. `region`, left, top, right and bottom as fractions of the whole
    image, where only that part of it is drawn: maps of a unit's own image are cut to it, the source comes cut already.
    """

    size: tuple[int, int]
    source: Image.Image | None = None
    region: tuple[float, float, float, float] | None = None


def draw_map(
    unit: ControlUnit,
    own: Callable[[], Image.Image] | None,
    frame: Frame,
    annotators: Annotators | None,
    ctx: JobContext,
) -> Image.Image:
    """The unit's map, RGB of `frame.size`: of its own image, or of the frame's source for None.

    Raises:
        NotConfigured: a preprocessor is asked for and there are none; what `annotate` raises.
    """
    image = own() if own is not None else frame.source
    assert image is not None, "choose() refuses units without an image"
    if own is not None and frame.region is not None:
        image = _crop_region(image, frame.region)
    if unit.preprocessor == NO_PREPROCESSOR:
        return resize_map(flatten_on_white(image), frame.size, unit.resize)
    if annotators is None:
        raise NotConfigured(
            "No preprocessors are installed.", hint='Set the preprocessor to "none" and give a finished map.'
        )
    short = compute_short_side(image.size, frame.size, unit.resize) if unit.pixel_perfect else unit.resolution
    drawn = annotators.annotate(unit, image, short, ctx)
    return resize_map(drawn.convert("RGB"), frame.size, unit.resize)


def compute_short_side(image: tuple[int, int], size: tuple[int, int], resize: Resize) -> int:
    """The short side in px at which a map of `image` (width, height) has to be drawn so that none of its pixels is
    scaled again when it becomes `size`: sd-webui-controlnet's "pixel perfect"."""
    scales = size[0] / image[0], size[1] / image[1]
    scale = min(scales) if resize is Resize.FILL else max(scales)
    return max(1, round(min(image) * scale))


def resize_map(image: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    """`image` (RGB) at `size` (width, height) in px, by the unit's resize mode; what FILL leaves free gets the colour
    that is commonest along the edge, so that no line appears there."""
    if image.size == size:
        return image
    flat = image.getcolors(_FLAT) is not None
    method = Image.Resampling.NEAREST if flat else Image.Resampling.LANCZOS
    if resize is Resize.CROP:
        return ImageOps.fit(image, size, method)
    if resize is Resize.FILL:
        return ImageOps.pad(image, size, method, color=_find_edge_colour(image))
    return image.resize(size, method)


def _find_edge_colour(image: Image.Image) -> tuple[int, ...]:
    width, height = image.size
    strips = [(0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height)]
    counts: dict[tuple[int, ...], int] = {}
    for strip in strips:
        edge = image.crop(strip)
        for count, colour in edge.getcolors(edge.width * edge.height) or []:
            key = colour if isinstance(colour, tuple) else (int(colour),) * 3
            counts[key] = counts.get(key, 0) + count
    return max(counts, key=lambda colour: counts[colour])


def _crop_region(image: Image.Image, region: tuple[float, float, float, float]) -> Image.Image:
    left, top, right, bottom = region
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    x, y, x2, y2 = (round(edge) for edge in box)
    return image.crop((x, y, max(x + 1, x2), max(y + 1, y2)))

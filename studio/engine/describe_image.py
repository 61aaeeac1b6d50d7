"""What an image shows, as far as it can be told: by its own recipe or infotext, by measuring it, or by a language model
that sees. Whoever spoke is named."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from PIL import Image, ImageStat

from studio.core.errors import ModelBroken
from studio.core.infotext import parse_infotext
from studio.core.request import GenerationRequest
from studio.core.result import find_last_drawn
from studio.engine.storage.inputs import KeptImage
from studio.prompting.dynamic_tree import escape_text

BY_RECIPE, BY_INFOTEXT, BY_MEASURE = "recipe", "infotext", "measured"
_SENT_SIDE = 768  # px of the long side that a language model is shown
_SAMPLE_SIDE = 64  # px at which colours are measured
_MAX_COLOURS = 3
_MIN_SHARE = 0.08  # of the pixels, from which a colour is named
_GREY_SPREAD = 14  # between the channels of a pixel, below which it has no colour
_COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "black": (15, 15, 15),
        "grey": (128, 128, 128),
        "white": (240, 240, 240),
        "red": (200, 30, 35),
        "orange": (235, 135, 30),
        "yellow": (240, 215, 50),
        "green": (50, 140, 60),
        "turquoise": (50, 190, 190),
        "blue": (40, 80, 190),
        "violet": (125, 60, 170),
        "pink": (240, 150, 185),
        "brown": (110, 70, 40),
        "beige": (225, 205, 170),
    }
)
_log = logging.getLogger(__name__)

DESCRIBE_RULES = (
    "Describe the image as a prompt for an image generator: subject, place, light, medium, composition, colours, in two"
    " or three sentences. Say nothing of people's skin, faith or origin. Answer with the prompt alone."
)


@dataclass(frozen=True, kw_only=True)
class ImageDescription:
    """A prompt for an image, and who gave it: "recipe", "infotext", "measured", or the name of a captioner or language
    model."""

    prompt: str
    negative_prompt: str = ""
    source: str


def describe_offline(
    kept: KeptImage,
    open_image: Callable[[], Image.Image],
    find_facts: Callable[[Image.Image], Sequence[str]] = lambda image: (),
) -> ImageDescription:
    """What the image says of itself, else what can be measured; `open_image` is called only then. `find_facts` gives
    what networks find in it."""
    drew = find_last_drawn(kept.history)
    if drew is not None and drew.prompt.strip():
        return _build_description(drew, BY_RECIPE)
    if kept.infotext.strip():
        told = parse_infotext(kept.infotext).request
        if told.prompt.strip():
            return _build_description(told, BY_INFOTEXT)
    image = open_image()
    try:
        facts = find_facts(image)
    except ModelBroken as error:
        _log.warning("an image is measured without networks: %s", error.message)
        facts = ()
    return ImageDescription(prompt=", ".join((*facts, measure_image(image))), source=BY_MEASURE)


def _build_description(request: GenerationRequest, source: str) -> ImageDescription:
    """The texts that were drawn, written so that nothing of them is drawn from again."""
    return ImageDescription(
        prompt=escape_text(request.prompt), negative_prompt=escape_text(request.negative_prompt), source=source
    )


def measure_image(image: Image.Image) -> str:
    """Shape, brightness, contrast and main colours in words."""
    small = image.convert("RGB").resize((_SAMPLE_SIDE, _SAMPLE_SIDE), Image.Resampling.BOX)
    light = ImageStat.Stat(small.convert("L"))
    mean, spread = light.mean[0], light.stddev[0]
    ratio = image.width / image.height
    shape = "square image" if 0.95 < ratio < 1.05 else "wide image" if ratio > 1 else "tall image"
    words = [shape]
    if mean < 70 or mean > 185:
        words.append("dark" if mean < 70 else "bright")
    if spread < 25 or spread > 75:
        words.append("low contrast" if spread < 25 else "high contrast")
    colours = _name_colours(small)
    if set(colours) <= {"black", "grey", "white"}:
        words.append("black and white")
    elif colours:
        words.append(" and ".join(colours))
    return ", ".join(words)


def build_vision_messages(image: Image.Image) -> Sequence[Mapping[str, Any]]:
    """The messages that show `image`, made small and without metadata, to a language model."""
    small = image.convert("RGB")
    small.thumbnail((_SENT_SIDE, _SENT_SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=85)
    url = "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
    parts = [{"type": "text", "text": DESCRIBE_RULES}, {"type": "image_url", "image_url": {"url": url}}]
    return ({"role": "user", "content": parts},)


def _name_colours(small: Image.Image) -> list[str]:
    """The names of the main colours, the commonest first."""
    counts: dict[str, int] = {}
    for pixel in _iterate_pixels(small):
        name = _name_colour(pixel)
        counts[name] = counts.get(name, 0) + 1
    total = small.width * small.height
    common = sorted(counts, key=lambda name: -counts[name])
    return [name for name in common if counts[name] >= _MIN_SHARE * total][:_MAX_COLOURS]


def _iterate_pixels(small: Image.Image) -> Iterator[tuple[int, int, int]]:
    data = small.tobytes()
    return zip(data[::3], data[1::3], data[2::3], strict=True)


def _name_colour(pixel: tuple[int, int, int]) -> str:
    if max(pixel) - min(pixel) < _GREY_SPREAD:
        return "black" if max(pixel) < 60 else "white" if min(pixel) > 195 else "grey"
    distances = {
        name: sum((one - other) ** 2 for one, other in zip(pixel, colour, strict=True))
        for name, colour in _COLOURS.items()
    }
    return min(distances, key=lambda name: distances[name])

"""Preprocessor specs: one file below studio/preprocessors/ makes the map of one annotator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageChops, ImageStat

from studio.core.errors import InvalidRequest
from studio.core.range_checks import check_range
from studio.core.request_parts import Option
from studio.core.weights import DownloadableWeights

_VISIBLE = 16  # of 255: the colours of what is fainter are rounded too coarsely to say anything
_ONE_COLOUR = 16  # of 255, between the extremes of a channel
SMALLEST_SIDE = 64  # px of a map's short side
MAX_ENLARGED_SIDE = 4096  # px of a map's long side, where the image itself is no longer than that


@dataclass(frozen=True, kw_only=True)
class OptionSpec:
    """A figure that a preprocessor can be given, from `low` to `high` in steps of `step`; `help` says in plain words
    what it does."""

    name: str
    label: str
    low: float
    high: float
    default: float
    step: float
    help: str


class PreprocessorContext(Protocol):
    """Device, weights and networks for a running preprocessor."""

    @property
    def device(self) -> str:
        """The device of torch networks: "cpu", "cuda" or "mps"."""
        ...

    def get_weights_path(self, weights: DownloadableWeights) -> Path:
        """The path of one of its own weights, which is installed."""
        ...

    def use_network(self, name: str, load: Callable[[], Any]) -> AbstractContextManager[Any]:
        """The result of `load`, loaded once and kept under `name`. A torch module, or a tuple that begins with one, is
        on `device` within the block and on the CPU after it. One block at a time for each name."""
        ...

    def load_once(self, name: str, load: Callable[[], Any]) -> Any:
        """The result of `load`, loaded once and kept under `name`, for what is safe from several threads at once."""
        ...


@dataclass(frozen=True, kw_only=True)
class PreprocessorSpec:
    """One annotator. `run` gets the image at the size that the map is wanted in, RGB (RGBA with `alpha`, where it has
    transparent parts), a value for every option, and the workbench; it gives an RGB map of the same size.

    `kinds` are the control types that the map serves ("canny", "depth", …). `weights` are the weights that it needs,
    all of them; `package` the installed package whose data it reads. With `network` it runs a torch network, and so in
    the GPU lane. An image whose long side passes `largest` px (0: no limit) is annotated smaller and its map enlarged;
    without new colours in between where it is `flat`, made of areas of one colour each.
    """

    id: str
    title: str
    kinds: tuple[str, ...]
    run: Callable[[Image.Image, Mapping[str, float], PreprocessorContext], Image.Image]
    options: tuple[OptionSpec, ...] = ()
    weights: tuple[DownloadableWeights, ...] = ()
    package: str = ""
    network: bool = False
    alpha: bool = False
    largest: int = 0
    flat: bool = False

    def fill_options(self, given: Sequence[Option]) -> dict[str, float]:
        """A value for every option: what is `given`, else its default.

        Raises:
            InvalidRequest: an option that there is not, or a value out of its range.
        """
        values = {option.name: option.default for option in self.options}
        for one in given:
            if one.name not in values:
                known = ", ".join(values) or "none"
                raise InvalidRequest(f"{self.title} has no option {one.name!r}.", hint=f"It has: {known}.")
            values[one.name] = one.value
        for option in self.options:
            check_range(option.name, values[option.name], option.low, option.high)
        return values


def compute_map_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """The (width, height) in px of the map of an image of that size: in its shape, `short_side` px the short side, or
    as near to that as a long side of LARGEST_GROWN px (the image's own where that is more) lets it be."""
    scale = max(short_side, SMALLEST_SIDE) / min(width, height)
    scale = min(scale, max(MAX_ENLARGED_SIDE, width, height) / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def flatten_on_white(image: Image.Image) -> Image.Image:
    """`image` as RGB, transparent parts white."""
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def read_mask(image: Image.Image) -> Image.Image:
    """`image` as a mask, L, white where something is to change. Without transparency that is its lightness;
    with it its opacity times its lightness, or the opacity alone where all that can be seen is of one colour."""
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    grey = image.convert("L")
    if alpha is None or alpha.getextrema()[0] == 255:
        return grey
    visible = alpha.point([0] * _VISIBLE + [255] * (256 - _VISIBLE))
    spans = [ImageStat.Stat(band, visible).extrema[0] for band in image.convert("RGB").split()]
    if all(high - low <= _ONE_COLOUR for low, high in spans):  # nothing visible: 255 to 0
        return alpha
    return ImageChops.multiply(grey, alpha)

"""Images made larger: by resampling, or by an upscaler file in tiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from studio.core.errors import ModelBroken, OutOfMemory
from studio.core.weights import WeightFile
from studio.pipelines import device_memory
from studio.pipelines.upscale import spandrel_networks
from studio.pipelines.upscale.tiling import Span, TileGrid
from studio.vision.hidden_colours import fill_clear_pixels

if TYPE_CHECKING:
    import torch

RESAMPLERS = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
SMALLEST_TILE, LARGEST_TILE = 64, 320  # px of the small image; a CPU is a third slower with larger ones
_LARGEST = {"cuda": 1024}
_WORKING = {"cuda": 4 * device_memory.GIB}  # bytes that one tile may take, however much is free
_WORKING_ELSEWHERE = 5 * device_memory.GIB // 4
_MOST_PASSES, _STRETCHED = 2, 1.25  # over what a model drew; times by which resampling is hardly seen
_PROBE = 48  # px of the side that is put through a network to see what it takes


class UpscaleObserver(Protocol):
    """Receives the progress of an upscale. Any method may raise to stop it."""

    def start_tiles(self, tiles: int) -> None:
        """So many tiles are to come for the image at hand; said again when they become smaller, and they begin anew
        then."""
        ...

    def finish_tile(self) -> None:
        """One tile is done."""
        ...

    def check(self) -> None:
        """Between any two layers of the network."""
        ...

    def add_notice(self, text: str) -> None: ...


class NullObserver:
    """A Watch that lets everything pass."""

    def start_tiles(self, tiles: int) -> None: ...

    def finish_tile(self) -> None: ...

    def check(self) -> None: ...

    def add_notice(self, text: str) -> None: ...


class Upscaler:
    """An image upscaler on its device: `scale` times larger. `components` is what the registry weighs. `network` is a
    descriptor of spandrel's, `run` another way through its weights than its own."""

    def __init__(
        self, network: Any, device: str, precision: str = "auto", run: Callable[[Any], Any] | None = None
    ) -> None:
        self.scale: int = network.scale
        self.device = device
        self.dtype = spandrel_networks.choose_dtype(network, device, precision)
        network.to(device, self.dtype)
        self.components = {"model": network.model}
        self._run = run or network
        self._bytes_per_pixel = 0

    @property
    def model(self) -> torch.nn.Module:
        return self.components["model"]

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes of a tile beside the weights, per px of the small image; measured once, on a small one."""
        if not self._bytes_per_pixel:
            import torch

            probe = torch.zeros((1, 3, _PROBE, _PROBE))
            try:
                self._bytes_per_pixel = spandrel_networks.measure_bytes_per_pixel(
                    self.model, lambda: self(probe), _PROBE**2
                )
            except (RuntimeError, MemoryError) as error:
                if not device_memory.is_out_of_memory(error):
                    raise
                return device_memory.GIB // SMALLEST_TILE**2  # the smallest tiles are tried then
        return self._bytes_per_pixel

    def prepare(self) -> None:
        """Measure what a tile takes, ahead of the first one."""
        _ = self.bytes_per_pixel

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) in 0 to 1, to (n, 3, h·scale, w·scale) in 32-bit floats on the upscaler's device."""
        import torch

        with torch.inference_mode():
            return self._run(pixels.to(self.device, self.dtype)).float()


def load_upscaler(file: WeightFile, device: str, precision: str = "auto") -> Upscaler:
    """The file through spandrel, on `device`.

    Raises:
        ModelBroken: no architecture that spandrel knows, or no image upscaler.
    """
    network = spandrel_networks.load_network(file)
    if network.input_channels != 3 or network.output_channels != 3 or network.purpose == "FaceSR":
        raise ModelBroken(f"{file.path.name} is not an upscaler for images.", hint="Pick another upscaler.")
    return Upscaler(network, device, precision)


def enlarge_image(
    image: Image.Image,
    size: tuple[int, int],
    upscaler: Upscaler,
    device: str = "",
    *,
    tiling: tuple[int | None, int | None] = (None, None),
    watch: UpscaleObserver | None = None,
) -> Image.Image:
    """`image` through `upscaler` as often as it takes to be at least `size` (width, height) in px, then brought to it
    by Lanczos. A network that does not enlarge goes over it once. RGBA keeps its alpha, enlarged apart; anything else
    comes back as RGB.

    `tiling` is (tile, overlap) in px of the small image, None for what fits the free memory. `device` is the upscaler's
    own.

    Raises:
        OutOfMemory: not even the smallest tile fits. What `watch` raises.
    """
    watch = watch or NullObserver()
    alpha = image.getchannel("A") if "A" in image.getbands() else None
    source = fill_clear_pixels(image)
    for _ in range(count_passes(image.size, size, upscaler.scale)):
        source = _enlarge_once(source, upscaler, tiling, watch)
    source = source if source.size == size else source.resize(size, Image.Resampling.LANCZOS)
    if alpha is not None:
        source.putalpha(_enlarge_alpha(alpha, size, upscaler, tiling, watch))
    return source


def enlarge_drawn_image(image: Image.Image, size: tuple[int, int], upscaler: Upscaler) -> Image.Image:
    """As `enlarge_image`, for what a model drew and the network that it brings: twice through that at most, and not
    again for a little more, for each time takes as much longer as the image is larger."""
    need = max(size[0] / image.size[0], size[1] / image.size[1])
    times = upscaler.scale ** (1 if need <= _STRETCHED * upscaler.scale else _MOST_PASSES)
    width, height = (min(side, times * drawn) for side, drawn in zip(size, image.size, strict=True))
    made = enlarge_image(image, (width, height), upscaler)
    return made if made.size == size else made.resize(size, Image.Resampling.LANCZOS)


def count_passes(size: tuple[int, int], wanted: tuple[int, int], scale: int) -> int:
    """How often a network that enlarges `scale` times goes over an image of `size` until it is `wanted`, both in px."""
    if scale == 1:
        return 1
    need = max(wanted[0] / size[0], wanted[1] / size[1])
    return max(0, math.ceil(math.log(need, scale) - 1e-9))


def count_tiles(
    size: tuple[int, int], wanted: tuple[int, int], upscaler: Upscaler, tiling: tuple[int | None, int | None]
) -> list[int]:
    """How many tiles each pass of `enlarge` has over an image without alpha."""
    counts: list[int] = []
    for _ in range(count_passes(size, wanted, upscaler.scale)):
        counts.append(len(_build_grid(size, tiling[0] or choose_tile_size(upscaler), tiling[1])))
        size = (size[0] * upscaler.scale, size[1] * upscaler.scale)
    return counts


def choose_tile_size(upscaler: Upscaler) -> int:
    """The side in px of the tiles that fit what is free on the device now."""
    _, free = device_memory.read_total_and_free(upscaler.device)
    working = min(free // 2, _WORKING.get(upscaler.device, _WORKING_ELSEWHERE))
    side = math.isqrt(working // upscaler.bytes_per_pixel)
    return min(_LARGEST.get(upscaler.device, LARGEST_TILE), max(SMALLEST_TILE, side // 8 * 8))


def choose_overlap(tile: int) -> int:
    """The overlap in px that hides the seams of tiles of that side: more for those that cost little by it."""
    return min(32, max(16, tile // 16))


def _build_grid(size: tuple[int, int], tile: int, overlap: int | None) -> TileGrid:
    return TileGrid.cover(*size, tile, choose_overlap(tile) if overlap is None else overlap)


def _enlarge_alpha(
    alpha: Image.Image,
    size: tuple[int, int],
    upscaler: Upscaler,
    tiling: tuple[int | None, int | None],
    watch: UpscaleObserver,
) -> Image.Image:
    """Through the network too, as a grey image, so that edges are as sharp as the image's; an even one needs none."""
    low, high = alpha.getextrema()
    if low == high:
        return Image.new("L", size, low)
    grey = Image.merge("RGB", [alpha] * 3)
    for _ in range(count_passes(alpha.size, size, upscaler.scale)):
        grey = _enlarge_once(grey, upscaler, tiling, watch)
    alpha = grey.convert("L")
    return alpha if alpha.size == size else alpha.resize(size, Image.Resampling.LANCZOS)


def _enlarge_once(
    image: Image.Image, upscaler: Upscaler, tiling: tuple[int | None, int | None], watch: UpscaleObserver
) -> Image.Image:
    """One pass over an RGB image; the tiles become smaller while memory runs out."""
    tile = tiling[0] or choose_tile_size(upscaler)
    while True:
        try:
            return _enlarge_tiles(image, upscaler, _build_grid(image.size, tile, tiling[1]), watch)
        except (RuntimeError, MemoryError) as error:
            if not device_memory.is_out_of_memory(error):
                raise
        # Outside the handler: its traceback held the tensors of the failed attempt.
        device_memory.release_memory()
        tile = min(tile, max(image.size))
        if tile <= SMALLEST_TILE:
            raise OutOfMemory(
                f"Not enough memory to upscale this image, even in tiles of {tile} px.",
                hint="Unload models on the Configurations tab, or choose another upscaler.",
                details={
                    "requested": tile * tile * upscaler.bytes_per_pixel,
                    "available": device_memory.read_total_and_free(upscaler.device)[1],
                },
            )
        tile = max(SMALLEST_TILE, tile // 2)
        watch.add_notice(f"Low memory: the image was upscaled in tiles of {tile} px.")


def _enlarge_tiles(image: Image.Image, upscaler: Upscaler, grid: TileGrid, watch: UpscaleObserver) -> Image.Image:
    import numpy as np
    import torch

    scale = upscaler.scale
    watch.start_tiles(len(grid))

    def draw(row: Span, column: Span) -> torch.Tensor:
        small = image.crop((column.start, row.start, column.stop, row.stop))
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float().div_(255)
        with spandrel_networks.hook_layers(upscaler.model, watch.check):
            tile = upscaler(pixels)[0]
        watch.finish_tile()
        return tile

    whole = Image.new("RGB", (image.width * scale, image.height * scale))
    top = 0
    with torch.inference_mode():
        for band in grid.draw_bands(draw, scale):
            pixels = band.clamp(0, 1).mul_(255).round_().byte().permute(1, 2, 0).cpu().numpy()
            whole.paste(Image.fromarray(np.ascontiguousarray(pixels)), (0, top))
            top += len(pixels)
    return whole

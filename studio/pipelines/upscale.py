"""Pictures made larger: by resampling, or by an upscaler file in feathered tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.errors import ModelBroken
from studio.core.weights import WeightFile

if TYPE_CHECKING:
    import torch

RESAMPLERS = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
TILE = 256  # px of the small picture
OVERLAP = 32


class Upscaler:
    """A picture upscaler: `scale` times larger. `components` is what the registry weighs."""

    def __init__(self, descriptor: Any) -> None:
        self.scale: int = descriptor.scale
        self.components = {"model": descriptor.model}
        self._descriptor = descriptor

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) in 0 to 1, to (n, 3, h·scale, w·scale)."""
        import torch

        with torch.inference_mode():
            return self._descriptor(pixels)


def load_upscaler(file: WeightFile, device: str) -> Upscaler:
    """The file through spandrel, on `device`.

    Raises:
        ModelBroken: no architecture that spandrel knows, or no picture upscaler.
    """
    import spandrel

    try:
        model = spandrel.ModelLoader(device).load_from_file(file.path)
    except (spandrel.UnsupportedModelError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelBroken(f"The upscaler {file.name} cannot be read.", hint="Download the file again.") from error
    if not isinstance(model, spandrel.ImageModelDescriptor) or model.input_channels != 3:
        raise ModelBroken(f"{file.name} is not an upscaler for pictures.", hint="Pick another upscaler.")
    return Upscaler(model)


def enlarge(image: Image.Image, size: tuple[int, int], upscaler: Upscaler, device: str) -> Image.Image:
    """`image` through `upscaler` until it is at least `size` (width, height) in px, then brought to it by Lanczos."""
    import numpy as np
    import torch

    while image.width < size[0] or image.height < size[1]:
        pixels = torch.from_numpy(np.asarray(image, dtype="float32") / 255).permute(2, 0, 1)[None].to(device)
        larger = _tiled(pixels, upscaler)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
        image = Image.fromarray(larger, "RGB")
        if upscaler.scale == 1:
            break
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _tiled(pixels: torch.Tensor, upscaler: Upscaler) -> torch.Tensor:
    """(1, 3, h, w) to (1, 3, h·scale, w·scale), tile by tile; neighbours fade into each other over their overlap."""
    import torch

    scale = upscaler.scale
    _, _, height, width = pixels.shape
    total = torch.zeros((1, 3, height * scale, width * scale))
    weight = torch.zeros((1, 1, height * scale, width * scale))
    for top in _starts(height):
        for left in _starts(width):
            small = pixels[..., top : top + TILE, left : left + TILE]
            tile = upscaler(small).float().cpu()
            fade = _ramp(tile.shape[-2], scale)[:, None] * _ramp(tile.shape[-1], scale)[None, :]
            area = (
                ...,
                slice(top * scale, top * scale + tile.shape[-2]),
                slice(left * scale, left * scale + tile.shape[-1]),
            )
            total[area] += tile * fade
            weight[area] += fade
    return total / weight


def _starts(length: int) -> Iterator[int]:
    start = 0
    while start + TILE < length:
        yield start
        start += TILE - OVERLAP
    yield max(0, length - TILE)


def _ramp(length: int, scale: int) -> torch.Tensor:
    """Weights that rise from both ends over the overlap and are never 0."""
    import torch

    distance = torch.arange(length).float()
    return torch.minimum(distance + 1, length - distance).clamp(max=OVERLAP * scale)

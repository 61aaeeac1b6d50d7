"""Between images and arrays, and what more than one annotator does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

_PEN_WIDTH = 3 / 512  # of the short side: half the width of a scribble's stroke is twice that
SIDE_MULTIPLE = 64  # px; what every network here can halve evenly


def to_array(image: Image.Image) -> np.ndarray[Any, Any]:
    """(height, width, 3) of bytes, not to be written to."""
    import numpy as np

    return np.asarray(image)


def to_image(pixels: np.ndarray[Any, Any]) -> Image.Image:
    """An RGB image of (height, width) or (height, width, 3); figures that are no bytes are cut to 0–255."""
    import numpy as np

    if pixels.dtype != np.uint8:
        pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGB")


def stretch_values(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`values` brought to 0–1, all 0 where they do not differ."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-6)


def thin_edges(edges: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Soft edges (height, width, 0–255) as the strokes of a scribble: the ridges, drawn 255 on 0 with a broad pen."""
    import cv2
    import numpy as np

    pen = max(0.8, min(edges.shape) * _PEN_WIDTH)
    soft = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), pen)
    across = np.zeros((3, 3), np.uint8)
    across[1] = 1
    slanting = np.eye(3, dtype=np.uint8)
    directions = (across, across.T.copy(), slanting, slanting[::-1].copy())
    ridge = np.logical_or.reduce([soft == cv2.dilate(soft, line) for line in directions]) & (soft > 127)
    stroke = cv2.GaussianBlur(ridge.astype(np.float32), (0, 0), pen)
    return np.where(stroke > 0.05 / pen, 255, 0).astype(np.uint8)


def to_tensor(image: Image.Image, device: str, *, scale: float = 1 / 255) -> Any:
    """A batch of one, (1, 3, h, w), times `scale`; the sides padded with the edge's colours to multiples of 64 px."""
    import cv2
    import torch

    pixels = to_array(image)
    below, beside = -pixels.shape[0] % SIDE_MULTIPLE, -pixels.shape[1] % SIDE_MULTIPLE
    padded = cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    return torch.from_numpy(padded).to(device).permute(2, 0, 1)[None].float() * scale


def crop_to_image(channel: Any, image: Image.Image) -> np.ndarray[Any, Any]:
    """A network's answer (h, w) or (c, h, w) to `tensor(image)` as an array of the image's own size."""
    return channel[..., : image.height, : image.width].float().cpu().numpy()

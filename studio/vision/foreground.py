"""Cut out the foreground: its opacity by a network in ONNX, its edge by the image itself, its colours without the
background's.

`u2netp.onnx` ships: U²-Net small (Qin et al., 2020), Apache-2.0, the file that rembg uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.annotate import flatten_on_white
from studio.vision import onnx
from studio.vision.hidden_colours import fill_clear_pixels

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

U2NETP = Path(__file__).parent / "weights" / "u2netp.onnx"
_MEAN = (0.485, 0.456, 0.406)  # of the images that all of these networks learnt from
_DEVIATION = (0.229, 0.224, 0.225)
_FREE_SIDE = 1024  # px, for a network that takes any
_CERTAIN_MARGIN = 0.06  # an opacity this near to 0 or 1 is meant to be it
_GUIDED_SIDE = 1024  # px of the long side at which the edge is sought
_GUIDED_RADIUS = 1 / 80  # of the short side
_GUIDED_EPSILON = 1e-4  # a contrast of 1 in 100 counts as an edge
_COLOUR_SIDE = 2048  # px of the long side at which colours are sought
_COLOUR_RADII = (1 / 12, 1 / 120)  # of the short side: first where the background is far, then along the edge


@dataclass(frozen=True)
class SegmentationNetwork:
    """A segmentation network in ONNX: (1, 3, side, side) in, (1, 1, side, side) out. Safe from several threads at
    once."""

    session: Any
    name: str
    logits: bool = False

    @classmethod
    def load(cls, path: Path, *, logits: bool = False) -> SegmentationNetwork:
        """The network in the file at `path`; with `logits` its answer is before the sigmoid.

        Raises:
            ModelBroken: not such a file.
        """
        return cls(onnx.open_session(path), path.name, logits)

    def __call__(self, image: Image.Image) -> Image.Image:
        """The opacity (L, the size of `image`, which is RGB) of what stands in front, as coarse as the network sees it.

        Raises:
            ModelBroken: a network for something else.
        """
        import numpy as np

        entry = self.session.get_inputs()[0]
        side = entry.shape[-1] if isinstance(entry.shape[-1], int) else _FREE_SIDE
        small = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS), np.float32)
        pixels = (small / max(float(small.max()), 1e-6) - np.array(_MEAN, np.float32)) / np.array(
            _DEVIATION, np.float32
        )
        answer = onnx.run_network(self.session, pixels.transpose(2, 0, 1)[None], self.name)[0]
        found = answer.reshape(answer.shape[-2:])
        if self.logits:
            found = 1 / (1 + np.exp(-found))
        else:
            found = (found - found.min()) / max(float(found.max() - found.min()), 1e-6)
        return Image.fromarray((found * 255).round().astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)


def estimate_opacity(image: Image.Image, network: SegmentationNetwork) -> Image.Image:
    """The opacity (L, the image's size) that keeps the foreground of `image`, its edge laid along the image's own. What
    was transparent before stays so."""
    from PIL import ImageChops

    source = flatten_on_white(image)
    found = refine_mask(network(source), source)
    return ImageChops.darker(found, image.getchannel("A")) if image.mode == "RGBA" else found


def refine_mask(mask: Image.Image, image: Image.Image) -> Image.Image:
    """`mask` (L) with its soft edges moved to where `image` (RGB, of the same size) has edges, by the fast guided
    filter (He and Sun, 2015). What is surely inside or outside stays as it is."""
    import cv2
    import numpy as np

    scale = min(1.0, _GUIDED_SIDE / max(image.size))
    small = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    guide = np.asarray(image.resize(small, Image.Resampling.BOX), np.float32) / 255
    coarse = np.asarray(mask.resize(small, Image.Resampling.BOX), np.float32) / 255
    radius = max(1, round(min(small) * _GUIDED_RADIUS))
    unsure = np.clip(1.2 - np.abs(coarse - 0.5) * 2.2, 0, 1)  # 1 in the middle, 0 where the network is sure
    unsure = cv2.GaussianBlur(unsure, (0, 0), max(1.0, radius / 2)).clip(0, 1)
    slope, offset, unsure = (
        cv2.resize(part, image.size, interpolation=cv2.INTER_LINEAR)
        for part in (*_fit_guided_filter(guide, coarse, radius), unsure)
    )
    fine = offset
    pixels = np.asarray(image)
    for channel in range(3):  # one at a time: three times less memory than a product of all
        fine += slope[..., channel] * (pixels[..., channel] * np.float32(1 / 255))
    given = np.asarray(mask, np.float32) / 255
    blended = given + (np.clip(fine, 0, 1) - given) * unsure
    certain = (blended - _CERTAIN_MARGIN) / (1 - 2 * _CERTAIN_MARGIN)
    return Image.fromarray((certain * 255).round().clip(0, 255).astype(np.uint8))


def _fit_guided_filter(guide: Array, mask: Array, radius: int) -> tuple[Array, Array]:
    """(slope, offset) of the local linear model mask = slope · guide + offset, averaged over windows of `radius` px."""
    import cv2
    import numpy as np

    def mean(values: Array) -> Array:
        return cv2.boxFilter(values, -1, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    centre, level = mean(guide), mean(mask)
    together = mean(guide * mask[..., None]) - centre * level[..., None]
    spread = np.empty((*mask.shape, 3, 3), np.float32)
    for row in range(3):
        for column in range(3):
            product = mean(guide[..., row] * guide[..., column])
            spread[..., row, column] = product - centre[..., row] * centre[..., column]
    spread += np.eye(3, dtype=np.float32) * _GUIDED_EPSILON
    slope = np.linalg.solve(spread, together[..., None])[..., 0].astype(np.float32)
    return mean(slope), mean(level - (slope * centre).sum(axis=2))


def cut_out(image: Image.Image, mask: Image.Image) -> Image.Image:
    """RGBA: `image` with the opacity `mask` (L, its size), and along the edge the foreground's own colours, so that no
    rim of the old background is left (blur fusion, Forte 2021)."""
    import numpy as np

    source = fill_clear_pixels(image)
    colours = np.array(source)
    opacity = np.asarray(mask)
    soft = (opacity > 0) & (opacity < 255)
    if image.mode == "RGBA":  # what was half transparent before has colours of its own
        soft &= opacity < np.asarray(image.getchannel("A"))
    if soft.any():
        front, back = (
            np.asarray(each.resize(image.size, Image.Resampling.BILINEAR))[soft]
            for each in _estimate_colours(source, mask)
        )
        alpha = (opacity[soft].astype(np.float32) / 255)[:, None]
        missed = colours[soft] - alpha * front - (1 - alpha) * back
        colours[soft] = np.clip(front + alpha * missed, 0, 255).round().astype(np.uint8)
    whole = Image.fromarray(colours)
    whole.putalpha(mask)
    return whole


def _estimate_colours(image: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The foreground's and the background's colours around each pixel, at a size that is quick to blur."""
    import cv2
    import numpy as np

    scale = min(1.0, _COLOUR_SIDE / max(image.size))
    small = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    shown = np.asarray(image.resize(small, Image.Resampling.BOX), np.float32)
    alpha = (np.asarray(mask.resize(small, Image.Resampling.BOX), np.float32) / 255)[..., None]
    front, back = shown, shown
    for share in _COLOUR_RADII:
        window = (2 * max(1, round(min(small) * share)) + 1,) * 2
        level = cv2.blur(alpha, window)[..., None]
        near_front = cv2.blur(front * alpha, window) / (level + 1e-5)
        back = cv2.blur(back * (1 - alpha), window) / (1 - level + 1e-5)
        front = np.clip(near_front + alpha * (shown - alpha * near_front - (1 - alpha) * back), 0, 255)
    first, second = (Image.fromarray(np.clip(each, 0, 255).round().astype(np.uint8)) for each in (front, back))
    return first, second

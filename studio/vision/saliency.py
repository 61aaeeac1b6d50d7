"""Find salient areas and text in an image by plain image processing, without a network, in some milliseconds.

The map is a sum of four classic cues on an image of MAP_SIDE px: distance from the colours of the border along paths
(geodesic saliency: Wei et al., ECCV 2012), contrast with the surroundings at two scales (Itti et al., 1998), detail
that is in focus, and what the log spectrum does not expect (spectral residual: Hou and Zhang, CVPR 2007). No cue knows
skin colours, and none prefers light to dark: a crop must not choose between people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

MAP_SIDE = 144  # px of the map's long side
TEXT_SIDE = 480  # px of the long side at which text is looked for
CELL_SIDE = 4  # px of the map per node of the colour graph
CUE_WEIGHTS = {"border": 0.35, "contrast": 0.25, "focus": 0.2, "spectrum": 0.2}
FLOOR_PERCENTILE = 45  # percentile of the map that counts as nothing
SHARPEN_EXPONENT = 1.5  # exponent: the main thing over many small ones
FLAT_TOLERANCE = 2  # of 255: neighbours this near are of one colour
CORNER_WEIGHT = 0.55  # what the corners keep of the map; the centre keeps all

SaliencyMap: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"


@dataclass(frozen=True)
class Region:
    """A rectangle as fractions of the image."""

    left: float
    top: float
    right: float
    bottom: float


def compute_saliency(image: Image.Image) -> SaliencyMap:
    """How much each place matters: float32, shape (height, width) with a long side of MAP_SIDE, not negative, sum 1.
    Pixels that are transparent do not matter; where nothing stands out, all places matter the same."""
    import cv2

    small = _resize_to_side(image, MAP_SIDE)
    opaque = np.asarray(small.getchannel("A"), np.float32) / 255 if small.mode == "RGBA" else None
    lab = cv2.cvtColor(_flatten_rgb(small), cv2.COLOR_RGB2LAB).astype(np.float32)
    cues = {
        "border": _measure_border_distance(lab),
        "contrast": _measure_contrast(lab),
        "focus": _measure_focus(lab),
        "spectrum": _measure_spectral_residual(lab),
    }
    total = sum(
        (CUE_WEIGHTS[name] * _normalize_cue(cue) for name, cue in cues.items()), np.zeros(lab.shape[:2], np.float32)
    )
    total *= _make_centre_prior(*total.shape)
    if opaque is not None:
        total *= opaque
    total = np.maximum(total - np.percentile(total, FLOOR_PERCENTILE), 0) ** SHARPEN_EXPONENT
    mass = float(total.sum())
    if mass < 1e-6:
        even = np.ones_like(total) if opaque is None or not opaque.any() else opaque
        return (even / even.sum()).astype(np.float32)
    return (total / mass).astype(np.float32)


def find_text_regions(image: Image.Image) -> tuple[Region, ...]:
    """Lines of text, found by strokes of even height in a row; headings and captions, not every sign in a
    street."""
    import cv2

    small = _resize_to_side(image, TEXT_SIDE)
    grey = cv2.cvtColor(_flatten_rgb(small), cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    strokes = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    level, marks = cv2.threshold(strokes, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if level < 24:
        return ()
    rows = cv2.morphologyEx(marks, cv2.MORPH_CLOSE, np.ones((1, 11), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(rows)
    found: list[Region] = []
    for left, top, wide, high, area in stats[1:count]:
        if not (6 <= high <= height * 0.25 and wide >= 4 * high and area >= 0.55 * wide * high):
            continue
        if _reads_like_text(grey[top : top + high, left : left + wide]):
            found.append(Region(left / width, top / height, (left + wide) / width, (top + high) / height))
    return tuple(found)


def is_graphic(image: Image.Image) -> bool:
    """Whether the image is drawn, or stands on a flat ground: most neighbouring pixels are of one colour, few colours
    are most of it."""
    small = _flatten_rgb(_resize_to_side(image, TEXT_SIDE)).astype(np.int32)
    flat = np.abs(np.diff(small, axis=1)).max(axis=2) <= FLAT_TOLERANCE
    coarse = (small[::4, ::4] >> 3).reshape(-1, 3) @ np.array([1024, 32, 1])
    counts = np.sort(np.bincount(coarse))[-4:]
    return bool(flat.mean() > 0.7 and counts.sum() > 0.7 * coarse.size)


def _reads_like_text(line: np.ndarray[Any, Any]) -> bool:
    """Letters alternate with gaps along the line, and are of two tones."""
    low, high = np.percentile(line, (10, 90))
    if high - low < 60:
        return False
    inked = (line > (low + high) / 2).astype(np.int8)
    middle = inked[line.shape[0] // 4 : -(line.shape[0] // 4) or None]
    changes = np.abs(np.diff(middle, axis=1)).sum(axis=1).mean()
    two_toned = np.mean((line < low + 0.25 * (high - low)) | (line > high - 0.25 * (high - low)))
    return bool(changes >= 0.8 * line.shape[1] / line.shape[0] and two_toned > 0.6)


def _resize_to_side(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    plain = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
    return plain.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _flatten_rgb(image: Image.Image) -> np.ndarray[Any, Any]:
    """RGB pixels; what is transparent becomes grey."""
    if image.mode == "RGBA":
        ground = Image.new("RGBA", image.size, (128, 128, 128, 255))
        image = Image.alpha_composite(ground, image)
    return np.asarray(image.convert("RGB"))


def _measure_border_distance(lab: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The colour difference summed along the cheapest path to the border, of the three borders that lie nearest: a
    subject that touches one side is no background."""
    import cv2
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    rows, columns = max(4, lab.shape[0] // CELL_SIDE), max(4, lab.shape[1] // CELL_SIDE)
    cells = cv2.resize(cv2.GaussianBlur(lab, (5, 5), 0), (columns, rows), interpolation=cv2.INTER_AREA)
    index = np.arange(rows * columns).reshape(rows, columns)
    edges: list[tuple[Any, Any, Any]] = []
    for a, b in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None),), (slice(None, -1),)),
    ):
        cost = np.maximum(np.linalg.norm(cells[a] - cells[b], axis=2) - 2.0, 0.05)  # noise is no difference
        edges.append((index[a].ravel(), index[b].ravel(), cost.ravel()))
    first, second, cost = (np.concatenate(part) for part in zip(*edges, strict=True))
    graph = coo_array((cost, (first, second)), shape=(index.size, index.size)).tocsr()
    sides = (index[0], index[-1], index[:, 0], index[:, -1])
    far = np.stack([dijkstra(graph, directed=False, indices=side, min_only=True) for side in sides])
    kept = np.sort(far, axis=0)[1:3].mean(axis=0).reshape(rows, columns).astype(np.float32)
    return cv2.resize(np.minimum(kept, np.percentile(kept, 97)), lab.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _measure_contrast(lab: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import cv2

    side = max(lab.shape[:2])
    fine = cv2.GaussianBlur(lab, (0, 0), side * 0.012)
    wide = [cv2.GaussianBlur(lab, (0, 0), side * spread) for spread in (0.08, 0.2)]
    return sum((np.linalg.norm(fine - around, axis=2) for around in wide), np.zeros(lab.shape[:2]))


def _measure_focus(lab: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import cv2

    detail = np.abs(cv2.Laplacian(lab[..., 0], cv2.CV_32F, ksize=3))
    return np.sqrt(cv2.GaussianBlur(detail, (0, 0), max(lab.shape[:2]) * 0.03))


def _measure_spectral_residual(lab: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import cv2

    spectrum = np.fft.fft2(cv2.resize(lab[..., 0], (64, 64), interpolation=cv2.INTER_AREA))
    log = np.log(np.abs(spectrum) + 1e-6).astype(np.float32)
    rest = np.exp(log - cv2.blur(log, (3, 3)))
    back = np.abs(np.fft.ifft2(rest * np.exp(1j * np.angle(spectrum)))) ** 2
    return cv2.resize(cv2.GaussianBlur(back.astype(np.float32), (0, 0), 2.5), lab.shape[1::-1])


def _make_centre_prior(height: int, width: int) -> np.ndarray[Any, Any]:
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (CORNER_WEIGHT + (1 - CORNER_WEIGHT) * np.exp(-(x**2 + y**2))).astype(np.float32)


def _normalize_cue(cue: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low, high = np.percentile(cue, (2, 99))
    return np.clip((cue - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)

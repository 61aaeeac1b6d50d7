"""Faces cut out upright for a restorer, and put back without a border."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from studio.vision.faces import Face

FACE_SIDE = 512  # px of the square that restorers work on
_FRAME = 64  # px at the square's edges over which a restored face fades in
_TEMPLATE = (
    (192.98138, 239.94708),
    (318.90277, 240.1936),
    (256.63416, 314.01935),
    (201.26117, 371.41043),
    (313.08905, 371.15118),
)
"""The landmarks in the training images of the restorers, FFHQ at 512 px (facexlib's values)."""


@dataclass(frozen=True)
class Placement:
    """A turn, a scale and a shift that bring an image's face into the square: (x, y) goes to (a·x − b·y + x0, b·x + a·y
    + y0)."""

    a: float
    b: float
    x0: float
    y0: float

    @property
    def scale(self) -> float:
        """Px of the square for each px of the image."""
        return math.hypot(self.a, self.b)

    def to_matrix(self) -> Any:
        """As OpenCV wants it, (2, 3)."""
        import numpy as np

        return np.array([[self.a, -self.b, self.x0], [self.b, self.a, self.y0]])

    def compute_corners(self) -> list[tuple[float, float]]:
        """The square's corners in the image."""
        square = self.scale**2
        return [
            (
                (self.a * (x - self.x0) + self.b * (y - self.y0)) / square,
                (self.a * (y - self.y0) - self.b * (x - self.x0)) / square,
            )
            for x, y in ((0, 0), (FACE_SIDE, 0), (FACE_SIDE, FACE_SIDE), (0, FACE_SIDE))
        ]


def fit_placement(face: Face) -> Placement:
    """The transform that brings the face's five landmarks nearest to the template's, by least squares over all turns,
    scales and shifts."""
    import numpy as np

    # As complex numbers such a map is z ↦ c·z + d, and the best c is one division.
    marks, wanted = (np.array([complex(*point) for point in points]) for points in (face.landmarks, _TEMPLATE))
    middle, target = marks.mean(), wanted.mean()
    turn = np.vdot(marks - middle, wanted - target) / np.vdot(marks - middle, marks - middle)
    shift = target - turn * middle
    return Placement(float(turn.real), float(turn.imag), float(shift.real), float(shift.imag))


def align_face(pixels: Any, place: Placement) -> Any:
    """The face of (h, w, 3) `pixels` in the square, (512, 512, 3) in 32-bit floats; beyond the image's edge its last px
    go on."""
    import cv2
    import numpy as np

    matrix = place.to_matrix()
    shrink = int(1 / place.scale)
    if shrink > 1:  # a large face: averaged first, as the warp would pick single px out of it
        size = (max(1, pixels.shape[1] // shrink), max(1, pixels.shape[0] // shrink))
        across, down = pixels.shape[1] / size[0], pixels.shape[0] / size[1]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    return cv2.warpAffine(
        pixels.astype(np.float32),
        matrix,
        (FACE_SIDE, FACE_SIDE),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def paste_face(pixels: Any, before: Any, restored: Any, place: Placement, visibility: float) -> None:
    """Put the square `restored` in place of `before`, what `aligned` gave, into (h, w, 3) 32-bit float `pixels`, which
    are changed. It fades in from the square's edges; outside of them no px changes."""
    import cv2
    import numpy as np

    corners = np.array(place.compute_corners())
    left, top = (max(0, math.floor(side)) for side in corners.min(0))
    right, bottom = (
        min(most, math.ceil(side) + 1) for side, most in zip(corners.max(0), pixels.shape[1::-1], strict=True)
    )
    if left >= right or top >= bottom:
        return
    matrix = place.to_matrix() @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1]])
    size, window = (right - left, bottom - top), pixels[top:bottom, left:right]

    def warp_back(square: Any) -> Any:
        return cv2.warpAffine(square, matrix, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)

    weight = warp_back(_make_fade_mask())[..., None] * visibility
    # A face larger than the square has details that the square does not hold: there only the difference is added.
    large = place.scale < 1
    change = warp_back(_soften_details(restored - before if large else restored, place.scale))
    window += weight * (change if large else change - window)


def _soften_details(square: Any, scale: float) -> Any:
    """Without the details that an image with 1 / `scale` times the px cannot hold."""
    import cv2

    return cv2.GaussianBlur(square, (0, 0), 0.3 * math.sqrt(scale**2 - 1)) if scale > 1.2 else square


def _make_fade_mask() -> Any:
    """(512, 512) in 0 to 1, 0 at the edges, 1 from the frame inwards, smooth in between."""
    import numpy as np

    inside = np.clip((np.minimum(np.arange(FACE_SIDE), np.arange(FACE_SIDE)[::-1]) - 2) / _FRAME, 0, 1)
    ramp = (inside * inside * (3 - 2 * inside)).astype(np.float32)
    return np.outer(ramp, ramp)

"""The stick figure that pose ControlNets read: OpenPose's 18 joints, each limb in a colour of its own."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import Any

Joint = tuple[float, float] | None

# OpenPose's order: nose, neck, right shoulder, elbow, wrist, left shoulder, elbow, wrist, right hip, knee, ankle, left
# hip,
# knee, ankle, right eye, left eye, right ear, left ear. COCO's: nose, eyes, ears, shoulders, …, left before right; no
# neck.
_COCO = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_SHOULDERS = (5, 6)
_LIMBS = (
    (1, 2),
    (1, 5),
    (2, 3),
    (3, 4),
    (5, 6),
    (6, 7),
    (1, 8),
    (8, 9),
    (9, 10),
    (1, 11),
    (11, 12),
    (12, 13),
    (1, 0),
    (0, 14),
    (14, 16),
    (0, 15),
    (15, 17),
)
_STICK_WIDTH = 4 / 512  # half the width of a limb and the radius of a joint, of the short side
_LIMB_BRIGHTNESS = 0.6


def from_coco(joints: Any, threshold: float) -> tuple[Joint, ...]:
    """OpenPose's joints in px of COCO's (17, 3); None for those less sure than `threshold`."""

    def at(*indices: int) -> Joint:
        """Their middle."""
        if any(joints[index][2] < threshold for index in indices):
            return None
        x, y = (sum(float(joints[index][axis]) for index in indices) / len(indices) for axis in (0, 1))
        return x, y

    return tuple(at(*_SHOULDERS) if index is None else at(index) for index in _COCO)


def draw_skeletons(people: Sequence[tuple[Joint, ...]], size: tuple[int, int]) -> Any:
    """The figures on black: (height, width, 3) of bytes for `size` (width, height)."""
    import cv2
    import numpy as np

    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    stick = max(1, round(min(size) * _STICK_WIDTH))
    for joints in people:
        for number, (start, end) in enumerate(_LIMBS):
            first, second = joints[start], joints[end]
            if first is None or second is None:
                continue
            middle = (round((first[0] + second[0]) / 2), round((first[1] + second[1]) / 2))
            along, down = second[0] - first[0], second[1] - first[1]
            axes = (max(1, round(math.hypot(along, down) / 2)), stick)
            limb = cv2.ellipse2Poly(middle, axes, round(math.degrees(math.atan2(down, along))), 0, 360, 1)
            cv2.fillConvexPoly(canvas, np.array(limb), _get_joint_colour(number, _LIMB_BRIGHTNESS))
    for joints in people:
        for number, joint in enumerate(joints):
            if joint is not None:
                cv2.circle(canvas, (round(joint[0]), round(joint[1])), stick, _get_joint_colour(number, 1.0), -1)
    return canvas


def _get_joint_colour(number: int, brightness: float) -> tuple[int, int, int]:
    """OpenPose's colours: once around the wheel in 18 steps."""
    red, green, blue = colorsys.hsv_to_rgb(number / 18, 1.0, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)

"""COCO-WholeBody's 133 joints of one person by a network in ONNX that answers in SimCC (Li et al., 2022): for each
joint how likely every column and every row is, two a pixel of its image."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from studio.vision import onnx

_INPUT_SIZE = (288, 384)  # px, width and height that the network looks at
_MARGIN = 1.25  # of the person's box
_STEPS_PER_PIXEL = 2  # columns or rows a pixel
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)
_FACE = range(23, 91)
_HANDS = (91, 112)  # the first joint of each; 21 joints, the wrist and four a finger
_FINGERS = tuple(
    (0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21)
)  # from the wrist outwards, one finger after the other


def load_wholebody_network(path: Path) -> Any:
    """The network in the file. Raises ModelBroken."""
    return onnx.open_session(path)


def detect_joints(image: Image.Image, box: np.ndarray[Any, Any], session: Any) -> np.ndarray[Any, Any]:
    """(133, 3): x and y in px of `image`, and how sure. `box` is left, top, width, height."""
    left, top, width, height = box.tolist()
    shape = _INPUT_SIZE[0] / _INPUT_SIZE[1]
    high = max(height, width / shape, 1.0) * _MARGIN
    corner = np.array([left + width / 2 - high * shape / 2, top + height / 2 - high / 2])
    scale = high / _INPUT_SIZE[1]
    seen = image.transform(
        _INPUT_SIZE, Image.Transform.AFFINE, (scale, 0, corner[0], 0, scale, corner[1]), Image.Resampling.BILINEAR
    )
    pixels = (np.asarray(seen, np.float32) - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
    columns, rows = (answer[0] for answer in onnx.run_network(session, pixels.transpose(2, 0, 1)[None], "DWPose"))
    place = np.column_stack([columns.argmax(axis=1), rows.argmax(axis=1)]) / _STEPS_PER_PIXEL
    sure = np.minimum(columns.max(axis=1), rows.max(axis=1))
    return np.column_stack([place * scale + corner, sure])


def draw_hands_and_face(canvas: np.ndarray[Any, Any], found: np.ndarray[Any, Any], threshold: float) -> None:
    """Draw the fingers, in colours of their own, and the face's points, white, into `canvas` (height, width, 3)."""
    import cv2

    pen = max(1, round(min(canvas.shape[:2]) / 256))
    points = [(round(x), round(y)) for x, y in found[:, :2].tolist()]
    sure = found[:, 2] >= threshold
    for first in _HANDS:
        for number, (start, end) in enumerate(_FINGERS):
            if sure[first + start] and sure[first + end]:
                colour = [round(part * 255) for part in colorsys.hsv_to_rgb(number / len(_FINGERS), 1.0, 1.0)]
                cv2.line(canvas, points[first + start], points[first + end], colour, pen)
        for joint in range(first, first + 21):
            if sure[joint]:
                cv2.circle(canvas, points[joint], 2 * pen, (0, 0, 255), -1)
    for joint in _FACE:
        if sure[joint]:
            cv2.circle(canvas, points[joint], pen, (255, 255, 255), -1)

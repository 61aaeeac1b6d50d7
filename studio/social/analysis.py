"""Find the subject of an image, once for all of its formats."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from studio.core.annotate import flatten_on_white
from studio.core.errors import ModelBroken, NotConfigured
from studio.vision import saliency
from studio.vision.saliency import Region

ANALYSIS_SIDE = 640  # px of the long side that everything is found on
FACE_SIDE = 512  # px at which faces are looked for
MIN_FACE_RATIO = 0.35  # a face this high, against the highest, counts as much as that one
MAX_FACES = 40
SUBJECT_SHARE = 0.5  # of the map, where the network sees a subject
MAX_CACHED_ANALYSES = 64  # analyses that are remembered, about 100 kB each
BODY_SIZE = (3.0, 5.0)  # width and height of what belongs to a face below it, in faces
BODY_SHARE = 0.45  # of the map, where there are faces


class FaceLike(Protocol):
    """A face: its box (left, top, right, bottom) in px."""

    @property
    def box(self) -> Sequence[float]: ...


FaceFinder = Callable[[Image.Image], Sequence[FaceLike]]
SubjectFinder = Callable[[Image.Image], "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Detectors:
    """The detectors of faces and of the subject. None where a network is not installed."""

    faces: FaceFinder | None = None
    subject: SubjectFinder | None = None


@dataclass(frozen=True)
class Analysis:
    """One image of `width` × `height` px. `map` has sum 1 (see studio.vision.saliency); `faces` are those that count,
    all the same; `texts` lines of text; `graphic` is true for flat drawings, `blank` that nothing is to be
    seen."""

    width: int
    height: int
    map: saliency.SaliencyMap
    faces: tuple[Region, ...] = ()
    texts: tuple[Region, ...] = ()
    graphic: bool = False
    blank: bool = False
    seen: bool = True  # whether faces could be looked for


def analyse_image(image: Image.Image, eyes: Detectors) -> Analysis:
    """Look at `image` (L, RGB or RGBA) at LOOK_SIDE px."""
    return _analyse_reduced(reduce_image(image, ANALYSIS_SIDE), image.size, eyes)


def _analyse_reduced(look: Image.Image, size: tuple[int, int], eyes: Detectors) -> Analysis:
    blank = look.mode == "RGBA" and look.getchannel("A").getextrema()[1] == 0
    faces = None if eyes.faces is None else () if blank else _detect_faces(look, eyes.faces)
    found = saliency.compute_saliency(look)
    if eyes.subject is not None and not blank:
        found = _add_subject(found, look, eyes.subject)
    return Analysis(
        width=size[0],
        height=size[1],
        map=_add_bodies(found, faces or ()),
        faces=faces or (),
        blank=blank,
        texts=() if blank else saliency.find_text_regions(look),
        graphic=not blank and saliency.is_graphic(look),
        seen=faces is not None,
    )


def reduce_image(image: Image.Image, side: int) -> Image.Image:
    """`image` with a long side of at most `side` px, as RGB or RGBA."""
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.5) if size != image.size else image
    return small if small.mode in ("RGB", "RGBA") else small.convert("RGB")


class AnalysisCache:
    """Analyses by the image's content hash, the last KEPT of them. Safe from any thread; two that ask for the same
    image at once may both look."""

    def __init__(self, eyes: Callable[[], Detectors]) -> None:
        self._eyes = eyes
        self._kept: OrderedDict[str, Analysis] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, image: Image.Image, key: str | None = None) -> Analysis:
        """The analysis of `image`; `key` is its content hash where it is known."""
        look = None if key else reduce_image(image, ANALYSIS_SIDE)
        key = key or hash_image(look or image, image.size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = _analyse_reduced(look or reduce_image(image, ANALYSIS_SIDE), image.size, self._eyes())
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > MAX_CACHED_ANALYSES:
                self._kept.popitem(last=False)
        return made


def hash_image(look: Image.Image, size: tuple[int, int]) -> str:
    """A hash of what is looked at: images that are alike at LOOK_SIDE px have the same crops."""
    digest = hashlib.blake2b(f"{look.mode} {size}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(look).data)
    return digest.hexdigest()


def _detect_faces(look: Image.Image, find_faces: FaceFinder) -> tuple[Region, ...] | None:
    """The faces that count, from left to right: an order that prefers nobody. None where the network is not here."""
    small = flatten_on_white(reduce_image(look, FACE_SIDE))
    width, height = small.size
    try:
        found = [face.box for face in find_faces(small)]
    except (NotConfigured, ModelBroken):
        return None
    boxes = [
        Region(*(min(max(edge, 0.0), 1.0) for edge in (left / width, top / height, right / width, bottom / height)))
        for left, top, right, bottom in found
    ]
    boxes = [box for box in boxes if box.right - box.left > 0.002 and box.bottom - box.top > 0.002]
    highest = max((box.bottom - box.top for box in boxes), default=0.0)
    counted = [box for box in boxes if box.bottom - box.top >= MIN_FACE_RATIO * highest]
    counted.sort(key=lambda box: box.top - box.bottom)
    return tuple(sorted(counted[:MAX_FACES], key=lambda box: box.left))


def _add_subject(found: saliency.SaliencyMap, look: Image.Image, find: SubjectFinder) -> saliency.SaliencyMap:
    """The map with weight on what the network takes for the subject; a mask that is nearly empty says nothing."""
    rows, columns = found.shape
    try:
        mask = find(flatten_on_white(look))
    except (NotConfigured, ModelBroken):
        return found
    sized = np.asarray(Image.fromarray(mask).resize((columns, rows), Image.Resampling.BILINEAR))
    mass = float(sized.sum())
    if mass < 0.002 * sized.size:
        return found
    return ((1 - SUBJECT_SHARE) * found + SUBJECT_SHARE * sized / mass).astype(np.float32)


def _add_bodies(found: saliency.SaliencyMap, faces: Sequence[Region]) -> saliency.SaliencyMap:
    """The map with weight on the people to whom the faces belong."""
    if not faces:
        return found
    rows, columns = found.shape
    y, x = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
    people: Any = np.zeros_like(found)
    for face in faces:
        wide, high = face.right - face.left, face.bottom - face.top
        middle = (face.left + face.right) / 2
        across = np.clip(1.3 - np.abs(x - middle) / (BODY_SIZE[0] * wide / 2), 0, 1)
        along = np.where(y < face.top - 0.45 * high, 0, np.clip(1.3 - (y - face.top) / (BODY_SIZE[1] * high), 0, 1))
        people = np.maximum(people, along[:, None] * across[None, :])
    mass = float(people.sum())
    if mass <= 0:
        return found
    return ((1 - BODY_SHARE) * found + BODY_SHARE * people / mass).astype(np.float32)

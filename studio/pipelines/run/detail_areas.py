"""The areas of an image that a detailer redraws: faces, or what its words name."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageOps

from studio.core.detailer import Detailer
from studio.core.errors import NotConfigured, NothingFound
from studio.core.ports import Annotators, JobContext
from studio.pipelines.run.source_images import flatten_alpha
from studio.vision.faces import find_faces

MAX_AREAS = 100  # a detector that is hardly sure of anything sees faces everywhere
_SPECK = 1e-4  # of the image: smaller parts of a mask are noise


def check_target(detailer: Detailer, annotators: Annotators | None) -> None:
    """Refuse a target that nothing here can find, before anything is drawn.

    Raises:
        NotConfigured: words, and no model that searches for them.
    """
    if detailer.finds_faces:
        return
    if annotators is None:
        raise NotConfigured("No model for searching in images is installed.", hint="Let the detailer look for faces.")
    annotators.check_search()


@dataclass(frozen=True)
class Area:
    """One area: its own piece of a mask (mode L, white where it is), and where in the image that lies, in px."""

    piece: Image.Image
    left: int
    top: int

    def draw_mask(self, size: tuple[int, int]) -> Image.Image:
        """The mask of an image of `size`."""
        mask = Image.new("L", size)
        mask.paste(self.piece, (self.left, self.top))
        return mask


def find_areas(image: Image.Image, detailer: Detailer, annotators: Annotators | None, ctx: JobContext) -> list[Area]:
    """The areas from left to right; of too many the largest. Faces are boxes, what words name has its own outline."""
    seen = flatten_alpha(image)
    if detailer.finds_faces:
        with ctx.phase("find faces"):
            found = [_make_box(face.box) for face in find_faces(seen, sure=detailer.confidence)]
    else:
        check_target(detailer, annotators)
        assert annotators is not None
        try:
            found = _split_mask(annotators.find(detailer.target, seen, ctx))
        except NothingFound:
            found = []
    ctx.raise_if_cancelled()
    largest = found[: detailer.count or MAX_AREAS]
    grown = [_grow_area(area, detailer.grow) for area in sorted(largest, key=lambda area: area.left)]
    return [area for area in grown if area.draw_mask(image.size).getbbox()]


def _make_box(box: tuple[float, float, float, float]) -> Area:
    left, top, right, bottom = (round(side) for side in box)
    return Area(Image.new("L", (max(1, right - left), max(1, bottom - top)), 255), left, top)


def _split_mask(mask: Image.Image) -> list[Area]:
    """Each part of `mask` that hangs together, the largest first."""
    import cv2
    import numpy as np

    count, labels, facts, _ = cv2.connectedComponentsWithStats(
        (np.asarray(mask) >= 128).astype("uint8"), connectivity=8
    )
    least = _SPECK * mask.width * mask.height
    kept = [number for number in range(1, count) if facts[number, cv2.CC_STAT_AREA] >= least]
    kept.sort(key=lambda number: -int(facts[number, cv2.CC_STAT_AREA]))
    areas: list[Area] = []
    for number in kept[:MAX_AREAS]:
        left, top, width, height = (int(fact) for fact in facts[number, :4])
        part = labels[top : top + height, left : left + width] == number
        areas.append(Area(Image.fromarray((part * 255).astype("uint8")), left, top))
    return areas


def _grow_area(area: Area, grow: int) -> Area:
    """The area `grow` px wider and higher, half of it on each side, or narrower and lower where that is below 0."""
    if not grow:
        return area
    import cv2
    import numpy as np

    room = abs(grow)
    piece = ImageOps.expand(area.piece, room)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (room, room))
    change = cv2.dilate if grow > 0 else cv2.erode
    return Area(Image.fromarray(change(np.asarray(piece), kernel)), area.left - room, area.top - room)

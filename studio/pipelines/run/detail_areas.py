"""The areas of an image that a detailer redraws: faces, or what its words name."""

from __future__ import annotations

from PIL import Image, ImageDraw

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


def find_areas(
    image: Image.Image, detailer: Detailer, annotators: Annotators | None, ctx: JobContext
) -> list[Image.Image]:
    """A mask (mode L, the image's size, white where it is) of each area, from left to right; of too many the largest.
    Faces are boxes, what words name has its own outline."""
    seen = flatten_alpha(image)
    if detailer.finds_faces:
        with ctx.phase("find faces"):
            boxes = [face.box for face in find_faces(seen, sure=detailer.confidence)]
        masks = [_draw_box(seen.size, box) for box in boxes[: 2 * MAX_AREAS]]
    else:
        check_target(detailer, annotators)
        assert annotators is not None
        try:
            masks = _split_mask(annotators.find(detailer.target, seen, ctx))
        except NothingFound:
            masks = []
    ctx.raise_if_cancelled()
    largest = sorted(masks, key=lambda mask: -mask.histogram()[255])[: detailer.count or MAX_AREAS]
    grown = [_grow_mask(mask, detailer.grow) for mask in sorted(largest, key=_find_left)]
    return [mask for mask in grown if mask.getbbox()]


def _draw_box(size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    mask = Image.new("L", size, 0)
    left, top, right, bottom = (round(side) for side in box)
    ImageDraw.Draw(mask).rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=255)
    return mask


def _split_mask(mask: Image.Image) -> list[Image.Image]:
    """A mask of each part of `mask` that hangs together."""
    import cv2
    import numpy as np

    count, labels, facts, _ = cv2.connectedComponentsWithStats(
        (np.asarray(mask) >= 128).astype("uint8"), connectivity=8
    )
    least = _SPECK * mask.width * mask.height
    kept = [number for number in range(1, count) if facts[number, cv2.CC_STAT_AREA] >= least]
    kept.sort(key=lambda number: -int(facts[number, cv2.CC_STAT_AREA]))
    return [Image.fromarray(((labels == number) * 255).astype("uint8")) for number in kept[:MAX_AREAS]]


def _find_left(mask: Image.Image) -> int:
    box = mask.getbbox()
    return box[0] if box else 0


def _grow_mask(mask: Image.Image, grow: int) -> Image.Image:
    """The mask `grow` px wider and higher, half of it on each side, or narrower and lower where that is below 0."""
    if not grow:
        return mask
    import cv2
    import numpy as np

    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (abs(grow), abs(grow)))
    change = cv2.dilate if grow > 0 else cv2.erode
    return Image.fromarray(change(np.asarray(mask), kernel))

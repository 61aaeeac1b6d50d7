"""Choose the colours under transparent parts, for programs that ignore transparency."""

from __future__ import annotations

from PIL import Image


def fill_clear_pixels(image: Image.Image) -> Image.Image:
    """`image` as RGB, what is wholly clear in the colour of the nearest pixel that is not; so that nothing of what lies
    hidden there bleeds into the rim. An image that is clear everywhere keeps its hidden colours."""
    if image.mode != "RGBA" or image.getchannel("A").getextrema()[0] != 0:
        return image.convert("RGB")
    import cv2
    import numpy as np

    clear = np.asarray(image.getchannel("A")) == 0
    colours = np.array(image.convert("RGB")).reshape(-1, 3)
    visible = np.flatnonzero(~clear)
    if not visible.size:
        return image.convert("RGB")
    _, nearest = cv2.distanceTransformWithLabels(
        clear.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = nearest.reshape(-1)
    places = np.zeros(int(nearest.max()) + 1, np.intp)
    places[nearest[visible]] = visible
    hidden = np.flatnonzero(clear)
    colours[hidden] = colours[places[nearest[hidden]]]
    return Image.fromarray(colours.reshape(image.height, image.width, 3))

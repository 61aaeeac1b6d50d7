"""What the networks that ship see, on photographs that lie inside packages the studio needs anyway."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks.images import MarkedImage, load_marked_images
from benchmarks.social import crop_centre, make_studio_method, score_method
from studio.vision.subject import INPUT_SIDE, estimate_subject


@pytest.fixture(scope="module")
def photographs() -> list[MarkedImage]:
    """Those of gradio, which is a requirement, and of whatever else is installed."""
    return [each for each in load_marked_images() if "site-packages" in str(each.file)]


def test_the_subject_is_seen(photographs: list[MarkedImage]) -> None:
    (cheetah,) = [each for each in photographs if each.name == "gradio/gradio/media_assets/images/cheetah.jpg"]
    mask = estimate_subject(cheetah.open().convert("RGB"))
    assert mask.shape == (INPUT_SIDE, INPUT_SIDE)
    left, top, right, bottom = (round(edge * INPUT_SIDE) for edge in cheetah.subject)
    inside = np.zeros_like(mask, dtype=bool)
    inside[top:bottom, left:right] = True
    assert mask[inside].mean() > 5 * mask[~inside].mean()


def test_grey_and_tiny_images_have_a_mask_too() -> None:
    for image in (Image.new("RGB", (1, 1)), Image.new("RGB", (3000, 10), "white")):
        mask = estimate_subject(image)
        assert np.isfinite(mask).all()
        assert 0 <= mask.min() <= mask.max() <= 1


def test_crops_keep_the_subject_and_cut_no_face_that_fits(photographs: list[MarkedImage]) -> None:
    mine, middle = score_method(make_studio_method(), photographs), score_method(crop_centre, photographs)
    assert mine.share_of_possible >= 0.93
    assert mine.share_of_possible > middle.share_of_possible
    assert mine.cut == 0

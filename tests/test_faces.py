"""Faces found where there are faces, and nowhere else."""

from __future__ import annotations

import concurrent.futures

import numpy as np
import pytest
from PIL import Image

from studio.vision.faces import find_faces


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.astronaut())


def test_a_face_with_its_features_in_place(astronaut: Image.Image) -> None:
    [face] = find_faces(astronaut)
    left, top, right, bottom = face.box
    assert 150 < left < right < 310
    assert 40 < top < bottom < 230
    (left_eye, right_eye, nose, left_mouth, right_mouth) = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert face.score > 0.9


def test_the_same_face_in_any_size_and_place(astronaut: Image.Image) -> None:
    [small] = find_faces(astronaut)
    large = astronaut.resize((2048, 2048), Image.Resampling.LANCZOS)
    [found] = find_faces(large)
    assert found.box == pytest.approx([4 * side for side in small.box], abs=40)
    two = Image.new("RGB", (1100, 600), "grey")
    two.paste(astronaut, (0, 40))
    two.paste(astronaut.resize((400, 400)), (650, 100))
    first, second = find_faces(two)
    assert first.area > second.area
    assert second.box[0] > 650


def test_no_face_is_found_where_none_is(astronaut: Image.Image) -> None:
    import skimage.data

    assert find_faces(Image.fromarray(skimage.data.coffee())) == ()
    assert find_faces(Image.new("RGB", (1, 1))) == ()
    assert find_faces(Image.new("L", (3000, 20), 128)) == ()
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    assert find_faces(Image.fromarray(noise)) == ()


def test_several_threads_find_the_same(astronaut: Image.Image) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: find_faces(astronaut), range(8)))
    assert len(set(found)) == 1

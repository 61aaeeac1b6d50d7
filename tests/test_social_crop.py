"""Crops: faces whole where they fit, nobody chosen silently, the same in a mirror and at half the size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from studio.core.errors import NotConfigured, NotFound
from studio.core.finish import Box
from studio.core.social import ExtendMode, NoteKind, Verdict
from studio.core.social_formats import Format
from studio.social.advice import Advisor
from studio.social.analysis import Analysis, Detectors, analyse_image
from studio.social.crop import (
    can_fit_faces,
    find_best_crop,
    find_shared_crop,
    find_subject,
    fit_window,
    measure_share_inside,
)
from studio.social.platforms import Platforms
from studio.vision.saliency import Region, compute_saliency, find_text_regions, is_graphic

RATIOS = (1.0, 4 / 5, 9 / 16, 2 / 3, 1.91, 16 / 9, 3.0)


def find_formats(*names: str) -> list[Format]:
    return [Platforms().format(name) for name in names]


@dataclass(frozen=True)
class FoundFace:
    box: tuple[float, float, float, float]


def seeing(*faces: tuple[float, float, float, float]) -> Detectors:
    """Eyes that find faces at these fractions of whatever they are shown."""

    def find(image: Image.Image) -> list[FoundFace]:
        wide, high = image.size
        return [FoundFace((l * wide, t * high, r * wide, b * high)) for l, t, r, b in faces]  # noqa: E741

    return Detectors(faces=find)


def scene(width: int, height: int, *discs: tuple[float, float, float]) -> Image.Image:
    """Discs (x, y, radius as fractions of the width) on a plain ground with a little grain."""
    grain = np.random.default_rng(3).integers(0, 12, (height, width, 3)).astype(np.uint8)
    image = Image.fromarray(grain + np.array([90, 110, 120], np.uint8))
    draw = ImageDraw.Draw(image)
    for x, y, radius in discs:
        centre, half = (x * width, y * height), radius * width
        draw.ellipse((centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half), fill=(220, 60, 40))
    return image


def region(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.right, box.bottom


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1600, 80), (80, 1600), (9, 9)])
def test_a_crop_is_the_largest_window_of_its_shape(width: int, height: int, ratio: float) -> None:
    box = find_best_crop(analyse_image(scene(width, height), Detectors()), ratio)
    wide, high = (box.right - box.left) * width, (box.bottom - box.top) * height
    assert wide / high == pytest.approx(ratio)
    assert wide == pytest.approx(width) or high == pytest.approx(height)


@pytest.mark.parametrize("x", [0.12, 0.5, 0.85])
def test_a_crop_follows_the_subject(x: float) -> None:
    box = find_best_crop(analyse_image(scene(800, 400, (x, 0.5, 0.08)), Detectors()), 1.0)
    assert measure_share_inside(Region(x - 0.08, 0.34, x + 0.08, 0.66), box) > 0.98


@settings(max_examples=60, deadline=None)
@given(data=st.data(), ratio=st.sampled_from(RATIOS))
def test_a_face_that_fits_is_never_cut(data: st.DataObject, ratio: float) -> None:
    side = st.floats(0.05, 0.3)
    faces = []
    for _ in range(data.draw(st.integers(1, 4))):
        wide, high = data.draw(side), data.draw(side)
        left, top = data.draw(st.floats(0, 1 - wide)), data.draw(st.floats(0, 1 - high))
        faces.append(Region(left, top, left + wide, top + high))
    even = np.full((60, 90), 1 / 5400, np.float32)
    seen = Analysis(width=900, height=600, map=even, faces=tuple(faces))
    frame = fit_window(900, 600, ratio)
    box = find_best_crop(seen, ratio)
    shares = [measure_share_inside(face, box) for face in faces]
    if can_fit_faces(seen, frame):
        assert min(shares) > 0.95
    elif len(faces) == 1 and frame.along_x is False:
        face = faces[0]
        eyes = Region(
            face.left, face.top + 0.3 * (face.bottom - face.top), face.right, face.top + 0.55 * (face.bottom - face.top)
        )
        assert measure_share_inside(eyes, box) > 0.95 or (eyes.bottom - eyes.top) > frame.length


def test_hair_and_chin_are_kept_where_they_fit() -> None:
    face = (0.45, 0.4, 0.55, 0.55)
    box = find_best_crop(analyse_image(scene(600, 900, (0.5, 0.9, 0.1)), seeing(face)), 16 / 9)
    assert box.top <= 0.4 - 0.4 * 0.15
    assert box.bottom >= 0.55 + 0.2 * 0.15


def test_when_not_all_faces_fit_nobody_is_chosen_silently() -> None:
    image = Image.effect_noise((1600, 900), 90).convert("RGB")
    advisor = Advisor(lambda: seeing((0.05, 0.4, 0.15, 0.6), (0.85, 0.4, 0.95, 0.6)))
    square, wide = advisor.suggest_crops(image, find_formats("instagram.feed_square", "youtube.thumbnail_hd"))
    assert (square.verdict, square.advice, square.faces, square.faces_whole) == (Verdict.EXTEND, ExtendMode.BLUR, 2, 1)
    assert any("1 of 2 faces fit" in note.text for note in square.notes)
    assert "1 face" in square.loses
    assert (wide.verdict, wide.faces_whole) == (Verdict.GOOD, 2)
    assert "all faces" in wide.keeps


def test_light_and_dark_faces_are_chosen_by_place_alone() -> None:
    """The same portrait twice, one of them darkened: whichever side it is on, the same place wins."""
    portrait = scene(300, 300, (0.5, 0.5, 0.3))
    dark = ImageEnhance.Brightness(portrait).enhance(0.45)
    chosen = set()
    for left, right in ((portrait, dark), (dark, portrait)):
        wide = Image.new("RGB", (1500, 400), (128, 128, 128))
        wide.paste(left, (60, 50))
        wide.paste(right, (1140, 50))
        seen = analyse_image(wide, seeing((0.1, 0.3, 0.18, 0.7), (0.82, 0.3, 0.9, 0.7)))
        chosen.add(region(find_best_crop(seen, 1.0)))
    assert len(chosen) == 1


@pytest.mark.parametrize("ratio", [1.0, 9 / 16])
def test_a_mirrored_image_has_a_mirrored_crop(ratio: float) -> None:
    image = scene(900, 500, (0.3, 0.5, 0.1), (0.75, 0.3, 0.04))
    plain = find_best_crop(analyse_image(image, Detectors()), ratio)
    mirrored = find_best_crop(analyse_image(ImageOps.mirror(image), Detectors()), ratio)
    assert mirrored.left == pytest.approx(1 - plain.right, abs=0.02)


@pytest.mark.parametrize("ratio", [1.0, 9 / 16, 3.0])
def test_half_the_size_has_the_same_crop(ratio: float) -> None:
    image = scene(1600, 1000, (0.7, 0.4, 0.1))
    half = image.resize((800, 500), Image.Resampling.LANCZOS)
    whole, small = (
        find_best_crop(analyse_image(image, Detectors()), ratio),
        find_best_crop(analyse_image(half, Detectors()), ratio),
    )
    assert region(small) == pytest.approx(region(whole), abs=0.02)


def test_what_the_user_marks_wins_over_faces() -> None:
    image = scene(1600, 800, (0.1, 0.5, 0.05))
    advisor = Advisor(lambda: seeing((0.05, 0.4, 0.15, 0.6)))
    marked = Box(left=0.8, top=0.3, right=0.95, bottom=0.6)
    (found,) = advisor.suggest_crops(image, find_formats("instagram.story"), focus=marked)
    assert measure_share_inside(marked, found.box) > 0.99
    assert found.loses == ("1 face",)


def test_one_composition_lies_inside_the_safe_zones_of_all() -> None:
    image = scene(4000, 3000, (0.42, 0.45, 0.06))
    advisor = Advisor(Detectors)
    chosen = ["instagram.story", "tiktok.photo_9x16", "instagram.feed_square", "facebook.feed_portrait"]
    found = advisor.suggest_crops(
        image, find_formats(*chosen), focus=Box(left=0.36, top=0.37, right=0.48, bottom=0.53), same=True
    )
    assert all(not any("safe area" in lost for lost in each.loses) for each in found)
    (banner,) = advisor.suggest_crops(
        image, find_formats("linkedin.profile_banner"), focus=Box(left=0.1, top=0.1, right=0.6, bottom=0.9), same=True
    )
    assert any("outside the safe area" in lost for lost in banner.loses)


def test_the_same_crop_puts_the_subject_where_it_is_safe() -> None:
    story = Platforms().format("instagram.reel_cover")
    seen = analyse_image(scene(1200, 3000, (0.5, 0.5, 0.1)), Detectors())
    subject = Box(left=0.4, top=0.45, right=0.6, bottom=0.55)
    box = find_shared_crop(seen, story.ratio, story.safe_box, subject)
    middle = (0.5 - box.top) / (box.bottom - box.top)
    assert middle == pytest.approx((story.safe_box.top + story.safe_box.bottom) / 2)


def test_a_transparent_image_says_so_and_counts_what_is_opaque() -> None:
    advisor = Advisor(Detectors)
    (nothing,) = advisor.suggest_crops(Image.new("RGBA", (400, 300)), find_formats("instagram.story"))
    assert "fully transparent" in nothing.notes[0].text
    cut = Image.new("RGBA", (800, 400))
    cut.paste(scene(200, 200, (0.5, 0.5, 0.3)), (580, 100))
    assert find_best_crop(analyse_image(cut, Detectors()), 1.0).left > 0.4


def test_without_the_network_for_faces_it_is_said() -> None:
    def absent(image: Image.Image) -> list[FoundFace]:
        raise NotConfigured("The face detector is not installed.")

    (found,) = Advisor(lambda: Detectors(faces=absent)).suggest_crops(scene(300, 300), find_formats("instagram.story"))
    assert any("Faces were not detected" in note.text for note in found.notes)
    assert found.verdict is not Verdict.GOOD


def test_a_image_smaller_than_the_format_says_so_and_an_unknown_format_is_refused() -> None:
    advisor = Advisor(Detectors)
    (small,) = advisor.suggest_crops(scene(540, 540), find_formats("instagram.feed_square"))
    assert any("enlarged 2.0 times" in note.text and note.kind is NoteKind.ENLARGED for note in small.notes)
    with pytest.raises(NotFound):
        advisor.suggest_crops(scene(20, 20), find_formats("instagram.nothing"))


def test_analyses_are_made_once_per_image() -> None:
    looked: list[tuple[int, int]] = []

    def find(image: Image.Image) -> list[FoundFace]:
        looked.append(image.size)
        return []

    advisor = Advisor(lambda: Detectors(faces=find))
    source = scene(700, 500, (0.3, 0.5, 0.1))
    advisor.suggest_crops(source, find_formats("instagram.story", "twitter.header"))
    advisor.suggest_crops(source.copy(), find_formats("instagram.feed_square"))
    assert len(looked) == 1
    advisor.suggest_crops(scene(700, 500, (0.7, 0.5, 0.1)), find_formats("instagram.story"))
    assert len(looked) == 2


def test_the_map_finds_the_disc_and_sums_to_one() -> None:
    found = compute_saliency(scene(400, 300, (0.75, 0.4, 0.1)))
    assert float(found.sum()) == pytest.approx(1, abs=1e-3)
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    assert column / found.shape[1] == pytest.approx(0.75, abs=0.12)
    assert row / found.shape[0] == pytest.approx(0.4, abs=0.15)
    flat = compute_saliency(Image.new("RGB", (64, 64), "grey"))
    assert float(flat.max()) == pytest.approx(float(flat.min()))


def test_text_is_found_and_kept_whole() -> None:
    image = scene(900, 600)
    ImageDraw.Draw(image).text((480, 260), "Opening on Saturday", fill="white", font_size=40)
    (line,) = find_text_regions(image)
    assert line.left == pytest.approx(480 / 900, abs=0.03)
    assert not find_text_regions(scene(900, 600, (0.5, 0.5, 0.2)))
    box = find_best_crop(analyse_image(image, Detectors()), 1.0)
    assert measure_share_inside(line, box) > 0.98


def test_drawings_are_told_from_photographs() -> None:
    drawing = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(drawing).rectangle((20, 50, 280, 150), fill="navy")
    assert is_graphic(drawing)
    assert not is_graphic(Image.fromarray(np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)))
    (found,) = Advisor(Detectors).suggest_crops(drawing, find_formats("instagram.story"))
    assert (found.verdict, found.advice) == (Verdict.EXTEND, ExtendMode.COLOUR)


def test_the_subject_is_the_faces_and_the_core_of_the_map() -> None:
    seen = analyse_image(scene(800, 400, (0.5, 0.5, 0.1)), seeing((0.1, 0.3, 0.2, 0.5)))
    assert find_subject(seen).left <= 0.1
    marked = Box(left=0.3, top=0.3, right=0.4, bottom=0.4)
    assert find_subject(seen, marked) == marked

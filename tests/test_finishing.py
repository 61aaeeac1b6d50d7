"""Finishing: sizes, words that can be read, marks that are seen and one that is not."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from providers import Context

from studio.core.errors import InvalidRequest
from studio.core.finish import Anchor, Box, Derivative, FileWish, Finish, TextOverlay, Watermark
from studio.core.ports import PictureSeed
from studio.core.request import GenerationRequest
from studio.core.result import Rendered
from studio.core.task import Task
from studio.finishing.backend import Finishing
from studio.finishing.fonts import Fonts
from studio.finishing.text import draw, ratio
from studio.finishing.watermark import HIDDEN_BYTES, hide, read_hidden


@pytest.fixture
def fonts(tmp_path: Path) -> Fonts:
    return Fonts(tmp_path / "fonts")


def photo(width: int = 512, height: int = 512) -> Image.Image:
    import skimage.data

    return Image.fromarray(skimage.data.astronaut()).resize((width, height))


def finished(fonts: Fonts, image: Image.Image, wish: Finish, *more: Image.Image) -> tuple[list[Rendered], Context]:
    context = Context(image, *more)
    request = GenerationRequest(task=Task.FINISH, source="p0", finish=wish)
    return Finishing(fonts).render(request, [PictureSeed(seed=1)], context), context


def one(fonts: Fonts, image: Image.Image, wish: Finish, *more: Image.Image) -> Image.Image:
    [made], _ = finished(fonts, image, wish, *more)
    return made.image


def test_crop_comes_before_resize_and_the_shape_stays_unless_both_sides_are_given(fonts: Fonts) -> None:
    image = photo(400, 200)
    assert one(fonts, image, Finish(width=100)).size == (100, 50)
    assert one(fonts, image, Finish(height=100)).size == (200, 100)
    assert one(fonts, image, Finish(width=90, height=90)).size == (90, 90)
    half = one(fonts, image, Finish(crop=Box(left=0.5)))
    assert half.tobytes() == image.crop((200, 0, 400, 200)).tobytes()
    assert one(fonts, image, Finish(crop=Box(left=0.5), width=50)).size == (50, 50)
    assert one(fonts, image, Finish()).tobytes() == image.tobytes()


def test_derivatives_are_each_their_own_and_never_larger(fonts: Fonts) -> None:
    wish = Finish(
        derivatives=(
            Derivative(width=100, file=FileWish(format="webp")), Derivative(width=80, height=80, crop=True),
            Derivative(width=5000), Derivative(width=5000, height=2500, crop=True),
        )
    )  # fmt: skip
    made, context = finished(fonts, photo(400, 200), wish)
    assert [each.image.size for each in made] == [(100, 50), (80, 80), (400, 200), (400, 200)]
    assert [each.label for each in made] == ["100x50", "80x80", "400x200", "400x200"]
    assert made[0].file == FileWish(format="webp")
    assert [each.request.finish.derivatives for each in made] == [(each,) for each in wish.derivatives]  # type: ignore[union-attr]
    assert context.steps[-1] == (4, 4)


@pytest.mark.parametrize(("anchor", "across", "down"), [
    (Anchor.TOP_LEFT, 0, 0), (Anchor.TOP, 1, 0), (Anchor.TOP_RIGHT, 2, 0), (Anchor.LEFT, 0, 1), (Anchor.CENTRE, 1, 1),
    (Anchor.RIGHT, 2, 1), (Anchor.BOTTOM_LEFT, 0, 2), (Anchor.BOTTOM, 1, 2), (Anchor.BOTTOM_RIGHT, 2, 2),
])  # fmt: skip
def test_words_stand_where_they_are_to_stand_and_inside_the_picture(
    fonts: Fonts, anchor: Anchor, across: int, down: int
) -> None:
    image = Image.new("RGB", (600, 300), "black")
    drawn = draw(image, TextOverlay(text="Hello", anchor=anchor, stroke=0), fonts)
    ink = np.argwhere(np.asarray(drawn.image.convert("L")) > 128)
    top, left = ink.min(axis=0)
    bottom, right = ink.max(axis=0)
    assert 0 < left < right < 599
    assert 0 < top < bottom < 299
    assert round((left + right) / 2 / 300 - 0.001) in (across, across - 1 if across == 2 else across)
    assert [(top + bottom) / 2 < 100, 100 <= (top + bottom) / 2 < 200, (top + bottom) / 2 >= 200][down]
    assert drawn.box[0] <= left
    assert drawn.box[3] >= bottom


def test_long_words_are_wrapped_and_made_smaller_until_they_fit(fonts: Fonts) -> None:
    image = Image.new("RGB", (300, 200), "black")
    drawn = draw(image, TextOverlay(text="one two three four five six " * 6, size=0.5), fonts)
    assert drawn.box[0] >= 0
    assert drawn.box[1] >= 0
    assert drawn.box[2] <= 300
    assert drawn.box[3] <= 200
    within = Box(left=0.5, top=0.5)
    inside = draw(image, TextOverlay(text="safe zone only", anchor=Anchor.TOP_LEFT), fonts, within=within)
    assert inside.box[0] >= 150
    assert inside.box[1] >= 100


def test_contrast_is_the_guidelines_ratio_and_is_told_or_mended(fonts: Fonts) -> None:
    assert ratio((255, 255, 255), (0, 0, 0)) == pytest.approx(21)
    assert ratio((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    white = Image.new("RGB", (400, 300), "white")
    faint = TextOverlay(text="Hello", colour="#ffff88", stroke=0)
    told = draw(white, faint, fonts)
    assert told.contrast < 1.2
    assert "hard to read" in told.notes[0]
    mended = draw(white, dataclasses.replace(faint, contrast="fix"), fonts)
    assert mended.contrast > 3
    assert mended.notes == ()
    assert draw(white, dataclasses.replace(faint, stroke=0.1), fonts).notes == ()
    assert draw(Image.new("RGB", (400, 300)), faint, fonts).notes == ()


@pytest.mark.parametrize(
    "overlay",
    [
        TextOverlay(text="  "),
        TextOverlay(text="x", colour="red"),
        TextOverlay(text="x", font="No Such Font"),
        TextOverlay(text="x", stroke_colour="#12"),
    ],
)
def test_words_that_cannot_be_drawn_are_refused(fonts: Fonts, overlay: TextOverlay) -> None:
    with pytest.raises(InvalidRequest):
        one(fonts, photo(64, 64), Finish(text=(overlay,)))


def test_fonts_are_found_and_a_broken_one_is_named(fonts: Fonts, tmp_path: Path) -> None:
    names = fonts.names()
    assert "DejaVu Serif" in names
    assert {
        one(fonts, Image.new("RGB", (200, 100)), Finish(text=(TextOverlay(text="Ag", font=name),))).tobytes()
        for name in names[:3]
    }.__len__() == 3
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "Broken.ttf").write_bytes(b"no font")
    assert "Broken" in fonts.names()
    with pytest.raises(InvalidRequest, match="Broken"):
        one(fonts, photo(64, 64), Finish(text=(TextOverlay(text="x", font="Broken"),)))


def test_a_logo_stands_at_its_corner_as_faint_as_wished(fonts: Fonts) -> None:
    logo = Image.new("RGBA", (50, 50), (255, 0, 0, 255))
    ground = Image.new("RGB", (400, 200), "black")
    marked = one(fonts, ground, Finish(watermark=Watermark(picture="p1", opacity=0.5, size=0.2)), logo)
    red = np.asarray(marked)[..., 0]
    where = np.argwhere(red > 60)
    assert where.min(axis=0)[0] > 140
    assert where.min(axis=0)[1] > 340
    assert red.max() == pytest.approx(128, abs=3)
    tiled = one(fonts, ground, Finish(watermark=Watermark(picture="p1", opacity=1, size=0.2, tiled=True)), logo)
    quarters = np.asarray(tiled)[..., 0].reshape(2, 100, 4, 100).max(axis=(1, 3))
    assert (quarters > 200).all()
    assert np.asarray(one(fonts, ground, Finish(watermark=Watermark(text="(c) me")))).max() > 60


def test_an_empty_watermark_is_refused(fonts: Fonts) -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        one(fonts, photo(64, 64), Finish(watermark=Watermark()))


@pytest.mark.parametrize("quality", [95, 85])
def test_a_hidden_text_is_not_seen_and_survives_a_good_jpeg(quality: int) -> None:
    image = photo()
    hidden = hide(image, "made by Ann")
    error = np.abs(np.asarray(hidden, float) - np.asarray(image, float)).mean()
    assert error < 3
    assert read_hidden(hidden) == "made by Ann"
    out = io.BytesIO()
    hidden.save(out, "JPEG", quality=quality)
    assert read_hidden(Image.open(out)) == "made by Ann"
    assert read_hidden(image) is None
    assert read_hidden(Image.new("RGB", (20, 20))) is None


def test_a_hidden_text_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="longer"):
        hide(photo(), "x" * (HIDDEN_BYTES + 1))
    with pytest.raises(InvalidRequest, match="too small"):
        hide(photo(100, 100), "x")


@pytest.mark.parametrize("size", [(1, 1), (1000, 50), (3, 900)])
def test_strange_pictures(fonts: Fonts, size: tuple[int, int]) -> None:
    image = Image.new("RGBA", size, (10, 20, 30, 0))
    wish = Finish(
        text=(TextOverlay(text="Hello", contrast="fix"),), watermark=Watermark(text="me"),
        derivatives=(Derivative(width=64, height=64, crop=True), Derivative(width=64)),
    )  # fmt: skip
    made, _ = finished(fonts, image, wish)
    assert len(made) == 2
    assert made[0].image.mode == "RGBA"
    assert one(fonts, Image.new("L", size), Finish(width=10)).mode == "RGB"

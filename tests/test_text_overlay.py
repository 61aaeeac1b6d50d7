"""Words over an image: where they stand, that they fit, and that they can be read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.finish import Anchor, Box, TextOverlay
from studio.finishing.contrast import MIN_CONTRAST, compute_contrast_ratio
from studio.finishing.fonts import Fonts
from studio.finishing.text import MAX_TEXT_LENGTH, draw_text


@pytest.fixture
def fonts(tmp_path: Path) -> Fonts:
    return Fonts(tmp_path / "fonts")


@pytest.mark.parametrize(
    ("anchor", "across", "down"),
    [
        (Anchor.TOP_LEFT, 0, 0),
        (Anchor.TOP, 1, 0),
        (Anchor.TOP_RIGHT, 2, 0),
        (Anchor.LEFT, 0, 1),
        (Anchor.CENTRE, 1, 1),
        (Anchor.RIGHT, 2, 1),
        (Anchor.BOTTOM_LEFT, 0, 2),
        (Anchor.BOTTOM, 1, 2),
        (Anchor.BOTTOM_RIGHT, 2, 2),
    ],
)
def test_words_stand_where_they_are_to_stand_and_inside_the_image(
    fonts: Fonts, anchor: Anchor, across: int, down: int
) -> None:
    drawn = draw_text(Image.new("RGB", (600, 300), "black"), TextOverlay(text="Hello", anchor=anchor, stroke=0), fonts)
    ink = np.argwhere(np.asarray(drawn.image.convert("L")) > 128)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    margin = 0.05 * 300
    assert [abs(left - margin) < 6, abs((left + right) / 2 - 300) < 6, abs(right - (600 - margin)) < 6][across]
    assert [abs(top - margin) < 6, abs((top + bottom) / 2 - 150) < 6, abs(bottom - (300 - margin)) < 6][down]
    assert drawn.box[0] - 1 <= left <= right <= drawn.box[2] + 1
    assert drawn.box[1] - 1 <= top <= bottom <= drawn.box[3] + 1


def test_long_words_are_wrapped_broken_and_made_smaller_until_they_fit(fonts: Fonts) -> None:
    image = Image.new("RGB", (300, 200), "black")
    for text in ("one two three four five six " * 6, "Donaudampfschifffahrtsgesellschaft" * 3, "first\n\nsecond"):
        drawn = draw_text(image, TextOverlay(text=text, size=0.5), fonts)
        assert drawn.notes == ()
        assert drawn.box[0] >= 0
        assert drawn.box[1] >= 0
        assert drawn.box[2] <= 300
        assert drawn.box[3] <= 200
        assert drawn.image.size == (300, 200)


def test_a_line_break_is_kept(fonts: Fonts) -> None:
    image = Image.new("RGB", (300, 200), "black")
    one, two = (draw_text(image, TextOverlay(text=text), fonts).box for text in ("Hello", "Hello\nHello"))
    assert two[3] - two[1] > 1.8 * (one[3] - one[1])
    assert two[2] - two[0] == one[2] - one[0]


@pytest.mark.parametrize("size", [(40, 12), (1, 1), (2, 300)])
def test_what_cannot_fit_is_cut_off_and_said(fonts: Fonts, size: tuple[int, int]) -> None:
    drawn = draw_text(Image.new("RGB", size), TextOverlay(text="far too much for so small an image " * 55), fonts)
    assert drawn.image.size == size
    assert any("was cut off" in note for note in drawn.notes)


def test_words_stay_inside_the_part_that_is_given(fonts: Fonts) -> None:
    image = Image.new("RGB", (300, 200), "black")
    inside = draw_text(
        image, TextOverlay(text="safe zone only", anchor=Anchor.TOP_LEFT), fonts, within=Box(left=0.5, top=0.5)
    )
    assert inside.box[0] >= 150
    assert inside.box[1] >= 100
    assert np.asarray(inside.image)[:100].max() == 0


def test_the_ratio_is_the_guidelines(fonts: Fonts) -> None:
    assert compute_contrast_ratio((255, 255, 255), (0, 0, 0)) == pytest.approx(21)
    assert compute_contrast_ratio((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert compute_contrast_ratio((0, 0, 0), (0, 0, 0)) == 1


def test_contrast_is_measured_where_the_letters_stand(fonts: Fonts) -> None:
    image = Image.new("RGB", (400, 300), "black")
    image.paste("white", (0, 0, 400, 150))
    plain = TextOverlay(text="Hello", colour="#ffffff", stroke=0)
    assert draw_text(image, plain, fonts).notes == ()
    told = draw_text(image, dataclasses.replace(plain, anchor=Anchor.TOP), fonts)
    assert told.contrast == pytest.approx(1, abs=0.01)
    assert "hard to read" in told.notes[0]
    assert draw_text(image, dataclasses.replace(plain, anchor=Anchor.TOP, stroke=0.1), fonts).notes == ()
    thin = TextOverlay(
        text="Hello", size=0.02, stroke=0.02, anchor=Anchor.TOP
    )  # a stroke that rounds to nothing helps nobody
    assert "hard to read" in draw_text(image, thin, fonts).notes[0]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("colour", ["#ffffff", "#ffff88", "#000", "#777777", "#ff0000"])
@pytest.mark.parametrize("ground", ["white", "black", "gray", "#888888"])
def test_a_shade_makes_any_words_readable_on_any_ground(fonts: Fonts, mode: str, colour: str, ground: str) -> None:
    image = Image.new("RGB", (300, 200), ground).convert(mode)
    drawn = draw_text(image, TextOverlay(text="Hello", colour=colour, stroke=0, contrast="fix"), fonts)
    assert drawn.contrast >= MIN_CONTRAST
    assert drawn.notes == ()
    assert drawn.image.mode == mode


def test_a_clear_ground_counts_as_white_and_as_black(fonts: Fonts) -> None:
    clear = Image.new("RGBA", (300, 200))
    told = draw_text(clear, TextOverlay(text="Hello", stroke=0), fonts)
    assert told.contrast == pytest.approx(1, abs=0.01)
    mended = draw_text(clear, TextOverlay(text="Hello", stroke=0, contrast="fix"), fonts)
    assert mended.contrast >= MIN_CONTRAST
    assert mended.image.getpixel((2, 2)) == (0, 0, 0, 0)
    rim = np.asarray(told.image)
    assert rim[..., :3][rim[..., 3] > 0].min() == 255  # no dark rim around letters over nothing


@pytest.mark.parametrize(
    "overlay",
    [
        TextOverlay(text="  "),
        TextOverlay(text="x", colour="red"),
        TextOverlay(text="x", font="No Such Font"),
        TextOverlay(text="x", stroke_colour="#12"),
        TextOverlay(text="x" * (MAX_TEXT_LENGTH + 1)),
    ],
)
def test_words_that_cannot_be_drawn_are_refused(fonts: Fonts, overlay: TextOverlay) -> None:
    with pytest.raises(InvalidRequest):
        draw_text(Image.new("RGB", (64, 64)), overlay, fonts)


@pytest.mark.parametrize("field", [{"size": 40.0}, {"stroke": 2.0}, {"margin": 0.6}, {"contrast": "maybe"}])
def test_figures_that_would_fill_the_memory_are_refused(field: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        TextOverlay(text="x", **field)  # type: ignore[arg-type]


def test_fonts_are_found_and_a_broken_one_is_named(fonts: Fonts, tmp_path: Path) -> None:
    names = fonts.names()
    assert names[0] == "DejaVu Sans Bold"
    image = Image.new("RGB", (200, 100))
    made = {draw_text(image, TextOverlay(text="Ag", font=name), fonts).image.tobytes() for name in names}
    assert len(made) == len(names) >= 5
    assert (
        draw_text(image, TextOverlay(text="Ag"), fonts).image
        == draw_text(image, TextOverlay(text="Ag", font=names[0]), fonts).image
    )
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "Broken.ttf").write_bytes(b"no font")
    assert "Broken" in fonts.names()
    with pytest.raises(InvalidRequest, match="Broken"):
        draw_text(image, TextOverlay(text="x", font="Broken"), fonts)


def test_letters_that_the_font_lacks_are_named(fonts: Fonts) -> None:
    image = Image.new("RGB", (400, 100))
    assert draw_text(image, TextOverlay(text="Grüße, Привет, مرحبا"), fonts).notes == ()
    assert "漢字" in draw_text(image, TextOverlay(text="ok 漢字"), fonts).notes[0]

"""Marks that are seen, and one that is not and is read back."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from studio.core.errors import InvalidRequest
from studio.core.finish import Anchor, Watermark
from studio.finishing.fonts import Fonts
from studio.finishing.hidden_text import MAX_HIDDEN_BYTES, MIN_HIDDEN_SIDE, hide_text, read_hidden
from studio.finishing.watermark import MAX_MARK_LENGTH, draw_watermark


@pytest.fixture
def fonts(tmp_path: Path) -> Fonts:
    return Fonts(tmp_path / "fonts")


LOGO = Image.new("RGBA", (50, 50), (255, 0, 0, 255))


def reds(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[..., 0]


def test_a_logo_stands_at_its_corner_as_faint_and_as_large_as_wished(fonts: Fonts) -> None:
    ground = Image.new("RGB", (400, 200), "black")
    for anchor, corner in ((Anchor.BOTTOM_RIGHT, (154, 354)), (Anchor.TOP_LEFT, (6, 6)), (Anchor.CENTRE, (80, 180))):
        red = reds(draw_watermark(ground, Watermark(opacity=0.5, size=0.2, anchor=anchor), LOGO, fonts))
        where = np.argwhere(red > 60)
        assert tuple(where.min(axis=0)) == corner
        assert tuple(np.ptp(where, axis=0)) == (39, 39)
        assert red.max() == pytest.approx(128, abs=2)
    assert reds(draw_watermark(ground, Watermark(opacity=0), LOGO, fonts)).max() == 0


def test_tiles_cover_the_whole_image(fonts: Fonts) -> None:
    tiled = draw_watermark(
        Image.new("RGB", (400, 200), "black"), Watermark(opacity=1, size=0.2, tiled=True), LOGO, fonts
    )
    assert (reds(tiled).reshape(2, 100, 4, 100).max(axis=(1, 3)) > 200).all()


@pytest.mark.parametrize("ground", ["black", "white"])
def test_words_are_seen_on_any_ground(fonts: Fonts, ground: str) -> None:
    plain = Image.new("RGB", (400, 200), ground)
    marked = np.asarray(draw_watermark(plain, Watermark(text="(c) me"), None, fonts), int)
    assert np.abs(marked - np.asarray(plain, int)).max() > 60


@pytest.mark.parametrize("shape", [(5, 500), (500, 5), (1, 1)])
@pytest.mark.parametrize("size", [(400, 200), (1, 1), (1000, 50), (30, 900)])
@pytest.mark.parametrize("tiled", [False, True])
def test_logos_and_images_of_any_shape(
    fonts: Fonts, shape: tuple[int, int], size: tuple[int, int], tiled: bool
) -> None:
    logo = Image.new("RGB", shape, "red")
    wish = Watermark(size=1, opacity=1, tiled=tiled, margin=0)
    marked = draw_watermark(Image.new("RGBA", size, (0, 0, 0, 0)), wish, logo, fonts)
    assert (marked.mode, marked.size) == ("RGBA", size)
    assert np.asarray(marked)[..., 3].max() > 0


def test_a_tall_logo_stays_inside(fonts: Fonts) -> None:
    marked = reds(
        draw_watermark(
            Image.new("RGB", (400, 200)), Watermark(size=0.5, opacity=1), Image.new("RGB", (20, 400), "red"), fonts
        )
    )
    assert marked[:6].max() == 0
    assert marked[-6:].max() == 0
    assert marked.max() == 255


def test_an_empty_or_endless_mark_is_refused(fonts: Fonts) -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        draw_watermark(LOGO, Watermark(text="  "), None, fonts)
    with pytest.raises(InvalidRequest, match="longer"):
        draw_watermark(LOGO, Watermark(text="x" * (MAX_MARK_LENGTH + 1)), None, fonts)


def photos() -> dict[str, Image.Image]:
    import skimage.data

    names = ("astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "text", "moon")
    made = {name: Image.fromarray(getattr(skimage.data, name)()).convert("RGB") for name in names}
    noise = np.random.default_rng(1).integers(0, 255, (512, 512, 3), np.uint8)
    return {
        **made,
        "white": Image.new("RGB", (512, 384), "white"),
        "black": Image.new("RGB", (300, 300)),
        "noise": Image.fromarray(noise),
    }


def through(kind: str, quality: int) -> Callable[[Image.Image], Image.Image]:
    def saved(image: Image.Image) -> Image.Image:
        out = io.BytesIO()
        image.save(out, kind, quality=quality)
        return Image.open(out)

    return saved


def resized(scale: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
    )


HARMS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "jpeg 85": through("JPEG", 85),
    "jpeg 60": through("JPEG", 60),
    "webp 80": through("WEBP", 80),
    "half": resized(0.5),
    "0.75, jpeg 85": lambda image: through("JPEG", 85)(resized(0.75)(image)),
    "1.5, jpeg 85": lambda image: through("JPEG", 85)(resized(1.5)(image)),
    "squeezed": lambda image: image.resize((image.width, image.height * 4 // 5)),
}


@pytest.mark.parametrize("name", list(photos()))
def test_a_hidden_text_is_not_seen_and_survives_saving_and_resizing(name: str) -> None:
    image = photos()[name]
    hidden = hide_text(image, "by Ann © 2026")
    error = (np.asarray(hidden, float) - np.asarray(image, float)) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 41  # dB
    lost = [harm for harm in HARMS if read_hidden(HARMS[harm](hidden)) != "by Ann © 2026"]
    assert lost == (["webp 80"] if name == "black" else [])  # black holds only what makes it brighter
    assert read_hidden(image) is None


@pytest.mark.parametrize("factor", [0.75, 0.8, 0.9, 1.1])
@pytest.mark.parametrize("change", [ImageEnhance.Brightness, ImageEnhance.Contrast])
def test_a_hidden_text_survives_brighter_and_duller_images(change: Callable[..., Any], factor: float) -> None:
    for name, image in photos().items():
        if name == "white" and factor > 1:  # brighter than white is white: nothing of the text is left
            continue
        changed = change(hide_text(image, "by Ann © 2026")).enhance(factor)
        out = io.BytesIO()
        changed.save(out, "JPEG", quality=85)
        assert read_hidden(Image.open(out)) == "by Ann © 2026", name
        assert read_hidden(change(image).enhance(factor)) is None


def test_a_hidden_text_does_not_survive_a_crop_and_is_not_read_wrongly() -> None:
    hidden = hide_text(photos()["astronaut"], "by Ann")
    for box in ((20, 0, 512, 512), (0, 0, 400, 512), (0, 30, 512, 500)):
        assert read_hidden(hidden.crop(box)) is None
    assert read_hidden(hidden.rotate(90)) is None


def test_nothing_is_found_where_nothing_is_hidden() -> None:
    random = np.random.default_rng(7)
    assert {read_hidden(Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8))) for _ in range(60)} == {None}
    assert read_hidden(Image.new("RGB", (1, 1))) is None
    assert read_hidden(Image.new("L", (300, 300))) is None


def test_opacity_is_kept() -> None:
    image = photos()["coffee"].convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    hidden = hide_text(image, "x")
    assert hidden.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    assert read_hidden(hidden) == "x"


def test_a_hidden_text_that_cannot_be_is_refused() -> None:
    photo = photos()["coins"]
    for text in ("x" * (MAX_HIDDEN_BYTES + 1), "ü" * MAX_HIDDEN_BYTES, "a\nb"):
        with pytest.raises(InvalidRequest, match="longer"):
            hide_text(photo, text)
    with pytest.raises(InvalidRequest, match="too small"):
        hide_text(photo.resize((MIN_HIDDEN_SIDE - 1, 500)), "x")


def test_a_text_that_was_hidden_by_the_first_version_is_still_read() -> None:
    """The places and the lattice are a file format: a change would orphan every image that was marked."""
    import hashlib

    from studio.finishing.hidden_text import _plan_coefficients

    places, dither = _plan_coefficients()
    told = hashlib.sha256(places.astype("<u4").tobytes() + (dither * 2**32).astype("<u4").tobytes()).hexdigest()
    assert told == "e26685a4c920bd04ce35429729640a17c58c9df9eee6e585c51d87928997dcac"

"""Masks as pure image work: what is drawn, where, and what comes back untouched."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.core.request_parts import Inpaint, MaskedContent, Resize
from studio.pipelines.run import masks
from studio.pipelines.run.source_images import flatten_alpha, resize_source


def image(width: int = 100, height: int = 70, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return Image.fromarray(noise.squeeze())


def dot(width: int = 100, height: int = 70, box: tuple[int, int, int, int] = (40, 30, 60, 50)) -> Image.Image:
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return mask


def test_blur_and_invert() -> None:
    plain = masks.prepare_mask(dot(), Inpaint(mask_blur=0))
    assert plain.tobytes() == dot().tobytes()
    turned = masks.prepare_mask(dot(), Inpaint(mask_blur=0, invert=True))
    assert (np.asarray(turned) == 255 - np.asarray(dot())).all()
    blurred = np.asarray(masks.prepare_mask(dot(), Inpaint(mask_blur=3)))
    assert 0 < blurred[40, 40] < 255
    assert blurred[40, 50] == 255
    assert blurred[40, 10] == 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("only_masked", [False, True])
@pytest.mark.parametrize("fill", list(MaskedContent))
def test_what_is_not_masked_comes_back_byte_for_byte(mode: str, only_masked: bool, fill: MaskedContent) -> None:
    source, mask = image(mode=mode), masks.prepare_mask(dot(), Inpaint(mask_blur=3))
    box = masks.find_region(mask, 8, 1.0) if only_masked else None
    canvas = masks.build_canvas(source, mask, (64, 64), box=box, inpaint=Inpaint(fill=fill))
    assert canvas.image.size == (64, 64)
    assert canvas.image.mode == "RGB"
    result = canvas.finish(Image.new("RGB", (64, 64), "red"))
    assert result.size == source.size
    assert result.mode == ("RGBA" if mode == "RGBA" else "RGB")
    kept = np.asarray(mask) == 0
    expected = source.convert(result.mode)
    assert (np.asarray(result)[kept] == np.asarray(expected)[kept]).all()
    assert 2000 < kept.sum() < 100 * 70
    middle = result.getpixel((50, 40))
    assert middle == ((255, 0, 0, 255) if mode == "RGBA" else (255, 0, 0)), "what is drawn is opaque"


@pytest.mark.parametrize(
    ("aspect", "box"),
    [(1.0, (30, 20, 70, 60)), (2.0, (10, 20, 90, 60)), (0.25, (30, 0, 70, 70)), (20.0, (0, 20, 100, 60))],
)
def test_the_region_is_the_mask_with_padding_in_the_drawing_shape(aspect: float, box: tuple[int, ...]) -> None:
    assert masks.find_region(dot(), 10, aspect) == box


def test_the_region_stays_inside_the_image() -> None:
    corner = dot(box=(90, 60, 100, 70))
    assert masks.find_region(corner, 5, 1.0) == (85, 55, 100, 70)
    assert masks.find_region(corner, 5, 2.0) == (70, 55, 100, 70)
    assert masks.find_region(dot(), 4000, 1.0) == (0, 0, 100, 70)


def test_a_thin_stroke_reaches_the_model() -> None:
    stroke = dot(64, 64, (0, 33, 64, 34))
    seen = np.asarray(masks.snap_to_cells(stroke))
    assert set(np.unique(seen)) == {0, 255}
    assert (np.flatnonzero(seen[:, 0]) == np.arange(32, 40)).all()
    faint = stroke.point(lambda value: value // 10)
    assert (np.asarray(masks.snap_to_cells(faint)) == seen).all()


def test_soft_cells_say_how_far_each_is_covered() -> None:
    half = dot(64, 64, (0, 36, 64, 40))
    seen = np.asarray(masks.snap_to_cells(half, soft=True))
    assert set(np.unique(seen)) == {0, 128}


def test_fill_takes_the_colours_around() -> None:
    green = Image.new("RGB", (64, 64), (20, 160, 40))
    hole = dot(64, 64, (20, 20, 44, 44))
    spoilt = green.copy()
    spoilt.paste((255, 0, 255), (22, 22, 42, 42))
    mended = np.asarray(masks.fill_from_surroundings(spoilt, hole), dtype=int)
    assert np.abs(mended - (20, 160, 40)).max() < 12
    everything = Image.new("L", (64, 64), 255)
    assert masks.fill_from_surroundings(spoilt, everything).tobytes() == spoilt.tobytes(), "there is nothing around"


def test_a_image_of_one_pixel() -> None:
    one = Image.new("RGB", (1, 1), "blue")
    canvas = masks.build_canvas(
        one, Image.new("L", (1, 1), 255), (64, 64), box=masks.find_region(Image.new("L", (1, 1), 255), 32, 1.0)
    )
    assert canvas.image.size == (64, 64)
    assert canvas.finish(Image.new("RGB", (64, 64), "red")).getpixel((0, 0)) == (255, 0, 0)


def test_resize_modes() -> None:
    wide = Image.new("RGB", (80, 40), "red")
    wide.paste("blue", (40, 0, 80, 40))
    stretched, cut, filled = (
        np.asarray(resize_source(wide, (64, 64), mode)) for mode in (Resize.STRETCH, Resize.CROP, Resize.FILL)
    )
    assert stretched.shape == cut.shape == filled.shape == (64, 64, 3)
    assert (stretched[32, [2, 61]] == [(255, 0, 0), (0, 0, 255)]).all()
    assert (cut[32, [2, 61]] == [(255, 0, 0), (0, 0, 255)]).all()
    assert (filled[32, [2, 61]] == [(255, 0, 0), (0, 0, 255)]).all()
    assert filled[2, 2].tolist() == [255, 0, 0], "the margin has the edge's colours"
    one = resize_source(Image.new("RGB", (1, 1), "red"), (64, 48), Resize.FILL)
    assert one.size == (64, 48)
    same = image(64, 64)
    assert resize_source(same, (64, 64), Resize.STRETCH) is same


def test_transparent_parts_are_white_to_the_models() -> None:
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 255))
    assert list(flatten_alpha(clear).getdata()) == [(255, 255, 255), (255, 0, 0)]


def painted(ground: tuple[int, ...], paint: tuple[int, ...], mode: str = "RGBA") -> Image.Image:
    """A mask file of 8 × 4 px whose left half is painted."""
    made = Image.new(mode, (8, 4), ground)
    made.paste(paint, (0, 0, 4, 4))
    return made


@pytest.mark.parametrize(
    ("mask", "left", "right"),
    [
        (painted((255, 255, 255, 0), (255, 255, 255, 255)), 255, 0),
        (painted((255, 0), (255, 255), "LA"), 255, 0),
        (painted((255, 255, 255, 0), (0, 0, 0, 255)), 255, 0),
        (painted((0, 0, 0, 0), (0, 0, 0, 128)), 128, 0),
        (painted((0, 0, 0, 0), (200, 30, 30, 255)), 255, 0),
        (painted((0, 0, 0, 255), (255, 255, 255, 255)), 255, 0),
        (painted((0, 0, 0, 254), (255, 255, 255, 255)), 255, 0),
        (painted((255, 255, 255, 0), (255, 255, 255, 0)), 0, 0),
        (painted((0, 0, 0), (255, 255, 255), "RGB"), 255, 0),
    ],
    ids=["white", "grey and alpha", "black", "half", "red", "opaque", "nearly opaque", "nothing", "no alpha"],
)
def test_a_masks_transparency_counts_and_its_colour_where_it_says_something(
    mask: Image.Image, left: int, right: int
) -> None:
    read = masks.prepare_mask(mask, Inpaint(mask_blur=0))
    assert (read.mode, read.getpixel((1, 1)), read.getpixel((6, 1))) == ("L", left, right)


def test_services_are_sent_the_same_mask() -> None:
    from studio.providers.common.request_shapes import make_black_mask, make_white_mask

    mask = painted((255, 255, 255, 0), (255, 255, 255, 255))
    assert [make_white_mask(mask, invert=False).getpixel(at) for at in ((1, 1), (6, 1))] == [255, 0]
    assert [make_black_mask(mask, invert=False).getpixel(at) for at in ((1, 1), (6, 1))] == [0, 255]

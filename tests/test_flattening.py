"""What lies under wholly transparent pixels is seen nowhere, whatever the image is made into."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import NotConfigured
from studio.engine.jobs.previews import Previews
from studio.providers.common.request_shapes import encode_for_upload
from studio.social.analysis import Detectors, analyse_image
from studio.social.contact_sheet import ContactSheet
from studio.vision.saliency import TEXT_SIDE, is_graphic

HIDDEN, SHOWN = (0, 0, 0), (200, 30, 30)


@pytest.fixture
def cut_out() -> Image.Image:
    """A red square on a ground that is clear, with black under it."""
    image = Image.new("RGBA", (256, 256), (*HIDDEN, 0))
    image.paste((*SHOWN, 255), (96, 96, 160, 160))
    return image


def is_near(pixel: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 12 for a, b in zip(pixel[:3], colour, strict=True))


def test_a_preview_shows_white_where_nothing_is(cut_out: Image.Image) -> None:
    previews = Previews()
    try:
        path = previews.write("job", cut_out, 256)
        assert path is not None
        with Image.open(path) as shown:
            assert is_near(shown.getpixel((8, 8)), (255, 255, 255))
            assert is_near(shown.getpixel((128, 128)), SHOWN)
    finally:
        previews.close()


@pytest.mark.parametrize("most_bytes", [20 * 2**20, 300], ids=["PNG", "JPEG"])
def test_an_upload_holds_no_hidden_colours(cut_out: Image.Image, most_bytes: int) -> None:
    data, kind = encode_for_upload(cut_out, most_bytes=most_bytes)
    assert kind == ("image/png" if most_bytes > 300 else "image/jpeg")
    sent = Image.open(io.BytesIO(data))
    assert is_near(sent.convert("RGB").getpixel((8, 8)), (255, 255, 255))
    assert is_near(sent.convert("RGB").getpixel((128, 128)), SHOWN)
    assert kind == "image/jpeg" or sent.getpixel((8, 8))[3] == 0  # type: ignore[index]


def test_half_clear_colours_are_sent_as_they_are() -> None:
    data, _ = encode_for_upload(Image.new("RGBA", (8, 8), (0, 0, 255, 128)))
    assert Image.open(io.BytesIO(data)).getpixel((1, 1)) == (0, 0, 255, 128)


def test_a_contact_sheet_shows_no_hidden_colours(cut_out: Image.Image) -> None:
    sheet = ContactSheet()
    sheet.add(cut_out, "Square", "256 × 256")
    drawn = sheet.draw_sheet()
    colours = {colour for _, colour in drawn.convert("RGB").getcolors(maxcolors=2**24)}  # type: ignore[union-attr]
    black = sum(count for count, colour in drawn.convert("RGB").getcolors(maxcolors=2**24) if colour == HIDDEN)
    assert SHOWN in colours
    assert black < 64 * 64


def test_what_looks_for_faces_and_subjects_sees_no_hidden_colours(cut_out: Image.Image) -> None:
    seen: list[Image.Image] = []

    def look(image: Image.Image) -> list[object]:
        seen.append(image)
        raise NotConfigured("No network here.", hint="None.")

    analyse_image(cut_out, Detectors(faces=look, subject=look))  # type: ignore[arg-type]
    assert len(seen) == 2
    for image in seen:
        assert is_near(image.getpixel((4, 4)), (255, 255, 255))
        assert is_near(image.getpixel((image.width // 2, image.height // 2)), SHOWN)


def test_a_logo_is_a_graphic_whatever_lies_under_its_clear_ground() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (TEXT_SIDE, TEXT_SIDE, 4), np.uint8)
    noise[..., 3] = 0
    logo = Image.fromarray(noise, "RGBA")
    logo.paste((*SHOWN, 255), (96, 96, 160, 160))
    assert is_graphic(logo)
    noise[..., 3] = 255
    assert not is_graphic(Image.fromarray(noise, "RGBA"))

"""Clear pixels take the colour of the nearest one that can be seen."""

from __future__ import annotations

import numpy as np
from PIL import Image

from studio.vision.hidden_colours import fill_clear_pixels


def test_clear_pixels_take_the_nearest_visible_colour_and_visible_ones_stay() -> None:
    image = Image.new("RGBA", (40, 20), (9, 99, 199, 0))
    image.paste((250, 0, 0, 255), (0, 0, 10, 20))
    image.paste((0, 250, 0, 1), (30, 0, 40, 20))
    filled = np.asarray(fill_clear_pixels(image))
    assert (filled[:, :19] == (250, 0, 0)).all()
    assert (filled[:, 21:] == (0, 250, 0)).all()
    assert fill_clear_pixels(image).mode == "RGB"


def test_what_has_nothing_clear_or_nothing_visible_stays() -> None:
    for image in (Image.new("RGBA", (5, 4), (1, 2, 3, 0)), Image.new("RGBA", (5, 4), (1, 2, 3, 9))):
        assert fill_clear_pixels(image).tobytes() == image.convert("RGB").tobytes()
    assert fill_clear_pixels(Image.new("L", (5, 4), 7)).getpixel((0, 0)) == (7, 7, 7)

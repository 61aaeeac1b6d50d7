"""The maps of control units: at which size they are drawn, and how they are brought to the size of the drawing."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from studio.core.request_parts import ControlUnit, Resize
from studio.pipelines.control import control_maps
from tests.local_models import FakeAnnotators
from tests.tiny_control import make_tile_image


class Asked(FakeAnnotators):
    """Annotators that record the size they are asked for."""

    def annotate(self, unit: ControlUnit, image: Image.Image, short_side: int, ctx: Any) -> Image.Image:
        self.asked.append(f"{image.width}x{image.height} at {short_side}")
        return super().annotate(unit, image, short_side, ctx)


@pytest.mark.parametrize(
    ("resize", "perfect", "expected"),
    [(Resize.CROP, True, 64), (Resize.FILL, True, 32), (Resize.STRETCH, True, 64), (Resize.CROP, False, 256)],
)
def test_maps_are_drawn_at_the_size_that_they_are_used_in(resize: Resize, perfect: bool, expected: int) -> None:
    annotators = Asked(Image.new("L", (8, 8)))
    frame = control_maps.Frame(size=(64, 64), source=make_tile_image(3, (400, 200)))
    wanted = ControlUnit(model="x", preprocessor="canny", resize=resize, pixel_perfect=perfect, resolution=256)
    drawn = control_maps.draw_map(wanted, None, frame, annotators, None)  # type: ignore[arg-type]
    assert annotators.asked == [f"400x200 at {expected}"]
    assert drawn.size == (64, 64)
    assert drawn.mode == "RGB"


def test_resizing_a_map_keeps_flat_colours_and_fills_with_the_edges_own() -> None:
    flat = Image.new("RGB", (40, 20), (10, 20, 30))
    flat.paste((200, 0, 0), (10, 5, 20, 15))
    padded = control_maps.resize_map(flat, (64, 64), Resize.FILL)
    assert {colour for _, colour in padded.getcolors()} == {(10, 20, 30), (200, 0, 0)}
    assert padded.getpixel((0, 0)) == (10, 20, 30)
    assert control_maps.resize_map(flat, (20, 20), Resize.CROP).getpixel((2, 10)) == (200, 0, 0)


def test_the_units_own_image_is_cut_to_the_region_that_is_drawn() -> None:
    own = Image.new("RGB", (100, 50), "black")
    own.paste("white", (50, 0, 100, 50))
    frame = control_maps.Frame(size=(16, 16), source=own, region=(0.5, 0.0, 1.0, 1.0))
    drawn = control_maps.draw_map(ControlUnit(model="x"), lambda: own, frame, None, None)  # type: ignore[arg-type]
    assert drawn.getcolors() == [(256, (255, 255, 255))]

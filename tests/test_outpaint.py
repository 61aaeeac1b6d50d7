"""How far a canvas grows and what stands on it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.request_parts import Outpaint
from studio.pipelines.run import outpaint
from studio.pipelines.run.outpaint import OutpaintCanvas


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Outpaint(left=10), OutpaintCanvas(110, 60, 10, 0)),
        (Outpaint(right=10, bottom=5), OutpaintCanvas(110, 65, 0, 0)),
        (Outpaint(left=1, top=2, right=3, bottom=4), OutpaintCanvas(104, 66, 1, 2)),
        (Outpaint(aspect="1:1"), OutpaintCanvas(100, 100, 0, 20)),
        (Outpaint(aspect="3:1"), OutpaintCanvas(180, 60, 40, 0)),
        (Outpaint(aspect="1:1", top=40), OutpaintCanvas(100, 100, 0, 40)),
        (Outpaint(aspect="1:1", left=20), OutpaintCanvas(120, 120, 20, 30)),
        (Outpaint(width=128, height=64), OutpaintCanvas(128, 64, 14, 2)),
        (Outpaint(width=120), OutpaintCanvas(120, 60, 10, 0)),
        (Outpaint(width=120, left=20), OutpaintCanvas(120, 60, 20, 0)),
    ],
)
def test_the_canvas(wish: Outpaint, expected: OutpaintCanvas) -> None:
    assert outpaint.grow_canvas(wish, 100, 60) == expected


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (None, "adds no pixels"),
        (Outpaint(), "adds no pixels"),
        (Outpaint(aspect="5:3"), "adds no pixels"),
        (Outpaint(width=100, height=60), "adds no pixels"),
        (Outpaint(width=90, height=90), "larger than the canvas"),
        (Outpaint(width=120, left=30), "larger than the canvas"),
        (Outpaint(left=16_384), "16484×60"),
    ],
)
def test_what_cannot_grow_is_refused(wish: Outpaint | None, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        outpaint.grow_canvas(wish, 100, 60)
    assert refused.value.hint


def test_the_mask_covers_what_is_new_and_fades_into_grown_sides_only() -> None:
    canvas = outpaint.grow_canvas(Outpaint(left=40), 100, 60)
    mask = np.asarray(outpaint.build_outpaint_mask(canvas, 100, 60))
    assert mask.shape == (60, 140)
    assert (mask[:, :40] == 255).all()
    fade = mask[30, 40:65].astype(int)
    assert (np.diff(fade) < 0).all()
    assert fade[-1] == 0
    assert (mask[:, 65:] == 0).all(), "the other sides are the image's own to the last pixel"


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_prefilled_canvas_holds_the_source_exactly_and_noise_around(mode: str) -> None:
    source = Image.new(mode, (40, 30), (200, 40, 90) if mode == "RGB" else (200, 40, 90, 128))
    canvas = outpaint.grow_canvas(Outpaint(left=30, bottom=20), 40, 30)
    whole = outpaint.prefill_canvas(source, canvas)
    assert (whole.mode, whole.size) == (mode, (70, 50))
    assert whole.crop((30, 0, 70, 30)).tobytes() == source.tobytes()
    around = np.asarray(whole.convert("RGB"), dtype=int)[:, :20]
    assert around.std() > 5
    edge = (200, 40, 90) if mode == "RGB" else (227, 147, 172)  # over white
    assert np.abs(around.mean((0, 1)) - edge).max() < 4
    assert outpaint.prefill_canvas(source, canvas).tobytes() == whole.tobytes()


def test_a_source_of_one_pixel() -> None:
    source = Image.new("RGB", (1, 1), "red")
    canvas = outpaint.grow_canvas(Outpaint(left=8, right=8, top=8, bottom=8), 1, 1)
    assert outpaint.prefill_canvas(source, canvas).getpixel((8, 8)) == (255, 0, 0)
    mask = np.asarray(outpaint.build_outpaint_mask(canvas, 1, 1))
    assert mask[8, 8] == 0
    assert (mask == 255).sum() == 17 * 17 - 1

"""What the upscaler learns from: views of drawings, some of them redrawn by the model that ships."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from tools.embedded import upscaler_pairs  # noqa: E402
from tools.embedded.captions import View  # noqa: E402
from tools.embedded.upscaler_pairs import choose_view, describe_view, redraw_small  # noqa: E402


def test_views_differ_in_all_that_captions_tell() -> None:
    views = [choose_view("flat", np.random.default_rng(seed)) for seed in range(60)]
    assert {view.style for view in views} == {"flat"}
    assert {view.mirrored for view in views} == {False, True}
    assert 0.2 < np.mean([view.colour is not None for view in views]) < 0.6
    assert 0.15 < np.mean([view.ground is not None for view in views]) < 0.55


def test_a_recoloured_thing_goes_by_no_name_with_another_colour() -> None:
    assert describe_view(("red apple", "apple"), View("3d")) == "a red apple"
    assert describe_view(("red apple", "apple"), View("3d", "blue", "grey")) == "a blue apple on a grey background"
    assert describe_view(("red heart",), View("3d", "blue")) is None


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return upscaler_pairs.load_pipeline()


def test_what_the_model_makes_of_a_drawing_is_learnt_from_only_where_it_still_shows_that(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (1, 256, 256, 3), np.uint8)
    monkeypatch.setattr(upscaler_pairs, "REDRAWN", (1.0, 1.0))
    apple, _ = redraw_small(pipeline, noise, ["a red apple"], rng)
    monkeypatch.setattr(upscaler_pairs, "REDRAWN", (0.3, 0.3))
    large = np.concatenate([apple.repeat(2, 1).repeat(2, 2), noise])
    made, same = redraw_small(pipeline, large, ["a red apple", "a blue car"], rng)
    assert made.shape == (2, 128, 128, 3)
    assert made.dtype == np.uint8
    assert same.tolist() == [True, False]
    red = made[0, 56:72, 56:72].astype(float).mean((0, 1))
    assert red[0] > red[1] + 80

"""How long images took, by what they are like."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FAKE_MODEL

from studio.core.request import GenerationRequest
from studio.engine.models.timings import Timings
from studio.library.database import Database

PAIR = GenerationRequest(prompt="a cat and a dog", model=FAKE_MODEL.id, steps=20, compose=True)


@pytest.fixture
def timings(tmp_path: Path) -> Timings:
    return Timings(Database(tmp_path / "library.db"))


def test_a_composed_image_takes_what_its_things_take(timings: Timings) -> None:
    timings.record_timing(PAIR, FAKE_MODEL, 2.0, is_composed=True)
    assert timings.estimate_seconds(PAIR, FAKE_MODEL, 2) == pytest.approx(4.0)
    assert timings.estimate_seconds(PAIR.replace(prompt="nine stars"), FAKE_MODEL, 9) == pytest.approx(18.0)


def test_a_thing_takes_what_an_image_of_the_models_own_size_takes(timings: Timings) -> None:
    timings.record_timing(PAIR.replace(prompt="a cat"), FAKE_MODEL, 2.0)
    wide = PAIR.replace(width=640, height=320)
    assert timings.estimate_seconds(wide, FAKE_MODEL, 2) == pytest.approx(4.0)
    assert timings.estimate_seconds(wide, FAKE_MODEL) is None


def test_one_image_that_was_held_up_is_soon_forgotten(timings: Timings) -> None:
    for seconds in (55.0, 3.0, 3.0):
        timings.record_timing(PAIR, FAKE_MODEL, seconds)
    estimate = timings.estimate_seconds(PAIR, FAKE_MODEL)
    assert estimate is not None
    assert 3 < estimate < 6
    timings.record_timing(PAIR, FAKE_MODEL, 55.0)
    later = timings.estimate_seconds(PAIR, FAKE_MODEL)
    assert later is not None
    assert later < 25
